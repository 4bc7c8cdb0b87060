"""An audit's report as one page that stands alone: no script, nothing fetched, light or dark as the reader's system is.

After `firstword.tuning.audit.report`. Names, texts of providers and lines of source are foreign: each goes through `_text`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from firstword.tuning.audit.facts import FirstVoice
from firstword.tuning.audit.line_rows import LineRow, line_rows
from firstword.tuning.audit.opportunities import Evidence, Opportunity
from firstword.tuning.audit.page_style import STYLE
from firstword.tuning.audit.report import AuditReport, HeardTimes, shown_file
from firstword.tuning.start import RecordedStart
from firstword.tuning.svg import duration, embedded
from firstword.tuning.waterfall import waterfall
from firstword.tuning.wording import amount, shown

_FLOOR = (
    '<p class="fw-label">The floor is the least that LiveKit allows, measured beside your agent in the same run.</p>'
)
_OPEN = 3
"""So many opportunities are shown whole; the others open at a click."""
_GOOD, _FAIR = 1.5, 2.5
"""Times the floor: up to here green, up to here amber."""


def page(report: AuditReport) -> str:
    """Returns an audit's report as one complete HTML page."""
    name = report.agent.file.name
    body = "\n".join(
        [
            f'<header class="fw-top"><p class="fw-eyebrow">firstword audit</p><h1>{_text(shown_file(report.agent.file))}</h1>'
            f'<p class="fw-facts">{_text(_facts(report))}</p></header>',
            _hero(report),
            *_objectives(report),
            _opportunities(report),
            *_paths(report),
            _unseen(report),
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{_text(name)}: firstword audit</title>'
        f"<style>{STYLE}</style></head>\n<body>\n<main>\n{body}\n</main>\n</body></html>\n"
    )


def _facts(report: AuditReport) -> str:
    agent = report.agent
    said = [
        amount(report.sessions, "session"),
        f"LiveKit Agents {agent.livekit}",
        f"Python {agent.python}",
        f"dispatch {agent.dispatch.value}",
        f"agent name {agent.agent_name}" if agent.agent_name else "no agent name",
    ]
    return " · ".join(said)


def _hero(report: AuditReport) -> str:
    if report.heard is None or not math.isfinite(report.heard.p50):
        reasons = "".join(f"<li>{_text(why)} ({amount(count, 'caller')})</li>" for why, count in report.silences)
        return f'<section class="fw-hero fw-bad"><p class="fw-big">Nothing was heard</p><ul>{reasons}</ul></section>'
    verb = "answers" if report.first_voice is FirstVoice.ANSWERS else "greets"
    since = "the end of the caller's speech" if verb == "answers" else "the caller's joining"
    rows = [("Agent, p50", report.heard.p50, "fw-mine"), ("Agent, p90", report.heard.p90, "fw-mine fw-soft")]
    yardstick = report.floor is not None and verb == "greets"
    if report.floor is not None and yardstick:
        rows.append(("Floor, p50", report.floor.p50, "fw-floor"))
    longest = max((seconds for _, seconds, _ in rows if math.isfinite(seconds)), default=1.0)
    bars = "".join(_bar(name, seconds, longest, style) for name, seconds, style in rows)
    ratio = report.times_the_floor("p50")
    compared = "" if ratio is None else f'<span class="fw-ratio {_grade(ratio)}">{ratio:.1f} × the floor</span>'
    unheard = f'<p class="fw-warn">{_text(_silences(report))}</p>' if report.unheard else ""
    return (
        f'<section class="fw-hero"><div class="fw-figure"><p class="fw-label">It {verb}. The median caller hears it after</p>'
        f'<p class="fw-big">{_seconds(report.heard.p50)}</p>{compared}'
        f'<p class="fw-label">counted from {since}; p90 {_p90(report, report.heard)}</p>{unheard}</div>'
        f'<div class="fw-bars">{bars}{_FLOOR if yardstick else ""}</div></section>'
    )


def _p90(report: AuditReport, heard: HeardTimes) -> str:
    ratio = report.times_the_floor("p90")
    return _seconds(heard.p90) + ("" if ratio is None else f", {ratio:.1f} × the floor's")


def _silences(report: AuditReport) -> str:
    reasons = "; ".join(f"{why} ({count})" for why, count in report.silences)
    return f"{report.unheard} of {amount(report.sessions, 'caller')} heard nothing: {reasons}"


def _bar(name: str, seconds: float, longest: float, style: str) -> str:
    width = 100.0 * seconds / longest if math.isfinite(seconds) else 100.0
    return (
        f'<div class="fw-row"><span>{name}</span><span class="fw-track"><span class="fw-fill {style}" '
        f'style="width:{width:.1f}%"></span></span><b>{_seconds(seconds)}</b></div>'
    )


def _grade(ratio: float) -> str:
    return "fw-ok" if ratio <= _GOOD else "fw-fair" if ratio <= _FAIR else "fw-slow"


def _objectives(report: AuditReport) -> Iterator[str]:
    if report.objectives:
        pills = "".join(
            f'<li class="{"fw-ok" if result.met else "fw-slow"}">{"✓" if result.met else "✗"} {_text(str(result))}</li>'
            for result in report.objectives
        )
        yield f'<section><h2>Objectives</h2><ul class="fw-pills">{pills}</ul></section>'


def _opportunities(report: AuditReport) -> str:
    found = report.opportunities
    if not found:
        said = f"{report.nothing_found[0].upper()}{report.nothing_found[1:]}."
        return f'<section><h2>What to do</h2><p class="fw-note">{said}</p></section>'
    most = max(each.saving_s or 0.0 for each in found)
    cards = "".join(_card(i, each, most) for i, each in enumerate(found))
    return (
        '<section><h2>What to do</h2><p class="fw-note">Each saving is predicted for this change alone; they do not add up. '
        f"Below it: where the difference of two audits should lie, in 95 of 100.</p>{cards}</section>"
    )


def _card(index: int, each: Opportunity, most: float) -> str:
    width = 100.0 * each.saving_s / most if each.saving_s else 0.0
    saving = "" if each.saving_s is None else f"−{_time(each.saving_s)}"
    before = (None, *(one.where for one in each.evidence))
    evidence = "".join(
        _evidence(one, shows_text=one.where != last) for one, last in zip(each.evidence, before, strict=False)
    )
    how = (
        f'<p>{_prose(each.rule.how)} <a href="{_text(each.rule.link)}">Read more</a></p>'
        f"<pre><code>{_code(each.rule.code)}</code></pre>"
    )
    return (
        f'<details class="fw-card"{" open" if index < _OPEN else ""}><summary><span class="fw-number">{index + 1}</span>'
        f'<span class="fw-title">{_text(each.title)}</span><span class="fw-saving">{saving}'
        f"<small>{_range(each)}</small></span>"
        f'<span class="fw-track"><span class="fw-fill fw-gain" style="width:{width:.1f}%"></span></span></summary>'
        f'<div class="fw-inside"><p>{_prose(each.rule.why)} {_unpredicted(each)}<span class="fw-dim">Found in {each.starts} of '
        f'{amount(each.of, "start")}.</span></p><ul class="fw-evidence">{evidence}</ul>{how}</div></details>'
    )


def _unpredicted(each: Opportunity) -> str:
    return f"What it saves no start tells: {_prose(each.rule.unpredicted)}. " if each.rule.unpredicted else ""


def _range(each: Opportunity) -> str:
    if each.saving_s is None:
        return "not predicted"
    if each.saving_range is None:
        return "of one session"
    low = each.saving_range.low
    return f"{_time(low) if low > 0 else '0'} to {_time(each.saving_range.high)}"


def _evidence(each: Evidence, *, shows_text: bool) -> str:
    """One row; several in a row that are of one line of source show it once."""
    text = f"<pre><code>{_code(each.text)}</code></pre>" if each.text and shows_text else ""
    return (
        f'<li><b>{_time(each.seconds)}</b><div><span class="fw-where">{_text(each.where)}</span> '
        f'<span class="fw-dim">{_text(each.told)}</span>{text}</div></li>'
    )


def _paths(report: AuditReport) -> Iterator[str]:
    if report.median is not None:
        yield _path(report, report.median, "What the median caller waited for", is_open=True)
    if report.slowest is not None and report.slowest is not report.median:
        yield _path(report, report.slowest, "What the slowest caller waited for", is_open=False)


def _path(report: AuditReport, start: RecordedStart, heading: str, *, is_open: bool) -> str:
    rows = line_rows(start, report.source)
    longest = max((row.share for row in rows), default=1.0)
    lines = "".join(_line(row, longest) for row in rows)
    picture = f'<div class="fw-picture">{embedded(waterfall(start))}</div>'
    shown = " open" if is_open else ""
    return (
        f'<section><details class="fw-path"{shown}><summary><h2>{_text(heading)}</h2>'
        f'<span class="fw-dim">{duration(start.duration_us)} until the first word was sent</span></summary>'
        f'<ol class="fw-lines">{lines}</ol>'
        f'<details class="fw-more"{shown}><summary>As a picture over time</summary>{picture}</details></details></section>'
    )


def _line(row: LineRow, longest: float) -> str:
    text = f"<pre><code>{_code(row.text)}</code></pre>" if row.text else ""
    return (
        f'<li><div class="fw-took"><b>{duration(row.duration_us)}</b><small>{row.share:.0%}</small></div>'
        f'<div class="fw-what"><span class="fw-track"><span class="fw-fill fw-mine" style="width:{100 * row.share / longest:.1f}%">'
        f'</span></span><span class="fw-where">{_text(row.name)}</span> <span class="fw-dim">{_text(row.told)}</span>{text}</div></li>'
    )


def _unseen(report: AuditReport) -> str:
    items = "".join(f"<li>{_text(each)}</li>" for each in (*report.unseen, *_ALWAYS))
    return f'<section><h2>What this audit does not see</h2><ul class="fw-note">{items}</ul></section>'


_ALWAYS = (
    "Callers and server ran on one machine: the network between your callers and you comes on top.",
    "What ran beside the path is not known: a change that uncovers it saves less than predicted.",
)


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if math.isfinite(seconds) else "never"


def _time(seconds: float) -> str:
    return duration(seconds * 1e6)


def _text(text: str) -> str:
    return escape(shown(text))


def _prose(text: str) -> str:
    """What stands between backticks is code."""
    parts = _text(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _code(text: str | None) -> str:
    """Code keeps its line breaks."""
    return "\n".join(map(_text, (text or "").split("\n")))

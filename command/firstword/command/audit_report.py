"""Formats an audit's report for a terminal: lines of any width from 50 columns on, in the order of the page.

After `firstword.tuning.audit.report`, for `firstword audit`. What is foreign goes through `styled`, as everywhere.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

from rich.text import Text

from firstword.command.terminal import styled
from firstword.tuning.audit.facts import FirstVoice
from firstword.tuning.audit.line_rows import line_rows
from firstword.tuning.audit.opportunities import Evidence, Opportunity
from firstword.tuning.audit.report import AuditReport, HeardTimes, shown_file
from firstword.tuning.objectives import ObjectiveResult
from firstword.tuning.start import RecordedStart
from firstword.tuning.svg import duration
from firstword.tuning.wording import amount

_NARROWEST, _WIDEST = 50, 110
_TIME = 9
"""Columns of a time, and the blank behind it."""
_BAR = 10
_DIM, _GAIN, _HEAD, _BAD, _GOOD = "bright_black", "bold green", "bold", "bold red", "green"


def report_lines(report: AuditReport, width: int) -> Iterator[Text]:
    """Yields the report as lines of styled text, 50 to 110 columns wide by `width`. Code and addresses are not broken,
    and may be longer."""
    columns = min(max(width, _NARROWEST), _WIDEST)
    yield styled(shown_file(report.agent.file), _HEAD)
    yield from _wrapped(_facts(report), columns, style=_DIM)
    yield Text()
    yield from _heard(report, columns)
    for result in report.objectives:
        yield from _objective(result, columns)
    yield Text()
    yield from _opportunities(report, columns)
    if report.median is not None:
        yield from _path(report, report.median, "What the median caller waited for", columns)
    if report.slowest is not None and report.slowest is not report.median:
        yield from _path(report, report.slowest, "What the slowest caller waited for", columns)
    if report.unseen:
        yield styled("What this audit does not see", _HEAD)
        for each in report.unseen:
            yield from _wrapped(f"- {each}", columns, hanging=2)


def _facts(report: AuditReport) -> str:
    agent = report.agent
    name = f"agent name {agent.agent_name}" if agent.agent_name else "no agent name"
    said = [amount(report.sessions, "session"), f"LiveKit Agents {agent.livekit}", f"Python {agent.python}"]
    return ", ".join([*said, f"dispatch {agent.dispatch.value}", name])


def _heard(report: AuditReport, columns: int) -> Iterator[Text]:
    since = "the end of the caller's speech" if report.first_voice is FirstVoice.ANSWERS else "the caller's joining"
    verb = "answers" if report.first_voice is FirstVoice.ANSWERS else "greets"
    yield from _wrapped(f"It {verb}; heard, in seconds from {since}:", columns)
    yield styled(f"{'':<12}{'p50':>9}{'p90':>16}", _DIM)
    if report.heard is not None:
        yield Text.assemble(("your agent  ", ""), (_cells(report, report.heard, ratios=True), _HEAD))
    if report.floor is not None and report.first_voice is FirstVoice.GREETS:
        yield styled("the floor   " + _cells(report, report.floor, ratios=False))
    for why, count in report.silences:
        yield from _wrapped(f"{amount(count, 'caller')} heard nothing: {why}", columns, style=_BAD)


def _cells(report: AuditReport, times: HeardTimes, *, ratios: bool) -> str:
    cells = ""
    for name, seconds in (("p50", times.p50), ("p90", times.p90)):
        ratio = report.times_the_floor(name) if ratios else None
        shown = f"{seconds:.2f}" if math.isfinite(seconds) else "never"
        cells += f"{shown:>9}" + (f" x{ratio:<5.1f}" if ratio is not None else " " * 7)
    return cells.rstrip()


def _objective(result: ObjectiveResult, columns: int) -> Iterator[Text]:
    yield from _wrapped(str(result), columns, style=_GOOD if result.met else _BAD)


def _opportunities(report: AuditReport, columns: int) -> Iterator[Text]:
    if not report.opportunities:
        yield from _wrapped(f"What to do: {report.nothing_found}", columns, style=_HEAD)
        yield Text()
        return
    yield styled("What to do; each saving is for this change alone", _HEAD)
    for number, each in enumerate(report.opportunities, 1):
        yield from _opportunity(number, each, columns)
        yield Text()


def _opportunity(number: int, each: Opportunity, columns: int) -> Iterator[Text]:
    yield from _wrapped(f"{number}. {each.title}", columns, hanging=3, style=_HEAD)
    sure, found = each.saving_range, f"in {each.starts} of {amount(each.of, 'start')}"
    if each.saving_s is None:
        yield from _wrapped(f"what it saves no start tells: {each.rule.unpredicted}; {found}", columns, indent=3)
    else:
        between = "" if sure is None else f" ({duration(max(sure.low, 0.0) * 1e6)} to {duration(sure.high * 1e6)})"
        yield Text.assemble("   ", (f"-{duration(each.saving_s * 1e6)}", _GAIN), (f"{between}, {found}", _DIM))
    for row in each.evidence:
        yield from _evidence(row, columns)
    yield from _wrapped(each.rule.how.replace("`", ""), columns, indent=3)
    for line in each.rule.code.split("\n"):
        yield styled(f"       {line}", "cyan")
    yield styled(f"   {each.rule.link}", _DIM)


def _evidence(row: Evidence, columns: int) -> Iterator[Text]:
    said = f"{row.where}, {row.told}" if row.told else row.where
    indent = 3 + _TIME
    first, *rest = textwrap.wrap(said, columns - indent) or [""]
    yield styled(f"   {duration(row.seconds * 1e6):<{_TIME}}{first}")
    for line in rest:
        yield styled(" " * indent + line)
    if row.text:
        yield styled(" " * indent + _cut(row.text, columns - indent), _DIM)


def _path(report: AuditReport, start: RecordedStart, heading: str, columns: int) -> Iterator[Text]:
    yield from _wrapped(f"{heading}, {duration(start.duration_us)} until the first word", columns, style=_HEAD)
    rows = line_rows(start, report.source)
    longest = max((row.share for row in rows), default=1.0)
    indent = _TIME + _BAR + 1
    for row in rows:
        bar = "━" * max(round(_BAR * row.share / longest), 1)
        first, *rest = textwrap.wrap(row.name, columns - indent) or [""]
        yield Text.assemble(
            styled(f"{duration(row.duration_us):>{_TIME - 1}} "), (f"{bar:<{_BAR}} ", "blue"), styled(first)
        )
        for line in (*rest, *textwrap.wrap(row.told, columns - indent)):
            yield styled(" " * indent + line, "" if line in rest else _DIM)
        if row.text:
            yield styled(" " * indent + _cut(row.text, columns - indent), "cyan")
    yield Text()


def _wrapped(text: str, columns: int, *, indent: int = 0, hanging: int = 0, style: str = "") -> Iterator[Text]:
    blanks = " " * indent
    for line in textwrap.wrap(
        text, columns, initial_indent=blanks, subsequent_indent=blanks + " " * hanging, break_on_hyphens=False
    ):
        yield styled(line, style)


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 1]}…"

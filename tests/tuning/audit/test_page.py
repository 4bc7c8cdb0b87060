"""An audit's page and its lines for a terminal: whole, alone, and with everything foreign made harmless."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from firstword.command.audit_report import report_lines
from firstword.tuning.audit.facts import AgentFacts, AuditRun, FirstVoice
from firstword.tuning.audit.page import page
from firstword.tuning.audit.report import AuditReport, audit_report
from firstword.tuning.objectives import objective
from tests.tuning.audit.audited import audit_run

TOKENS = (300, 400, 500)
EVIL = "<script>alert(1)</script>\x1b[2J\u202e&\"'"
_EMPTY = {"meta"}


class Elements(HTMLParser):
    """Every element of a page, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.targets: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.targets += [value or "" for name, value in attrs if name in ("href", "src", "action") or name[:2] == "on"]
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report_of(folder: Path, *, unheard: int = 0) -> AuditReport:
    return audit_report(audit_run(folder, *TOKENS, unheard=unheard), [objective("ttfw.p90<1s")])


def test_a_page_stands_alone(tmp_path: Path) -> None:
    """No script, nothing fetched but what a reader clicks, and each element is closed."""
    text = page(report_of(tmp_path, unheard=1))
    found = Elements(text)
    assert found.open == []
    assert "script" not in found.names
    assert all(target.startswith("https://docs.") for target in found.targets)
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme:dark" in text


def test_a_page_says_what_the_report_does(tmp_path: Path) -> None:
    """Figures, objectives, each opportunity, the user's lines, and what was not seen."""
    report = report_of(tmp_path, unheard=1)
    text = Elements(page(report)).text
    for said in ("0.95 s", "3.2 × the floor", "ttfw.p90<1s: missed", "1 of 4 callers heard nothing"):
        assert said in text
    for each in report.opportunities:
        assert each.title in text
        assert each.rule.code in text
    assert 'account = await read_account("<b>&")' in text
    assert all(each in text for each in report.unseen)


def test_a_page_of_an_agent_that_is_not_heard(tmp_path: Path) -> None:
    """Says why."""
    run = audit_run(tmp_path, *TOKENS, unheard=2)
    text = Elements(page(audit_report(replace(run, sessions=run.sessions[-2:])))).text
    assert "Nothing was heard" in text
    assert "no frame within 20 s (2 callers)" in text


@pytest.fixture
def evil(tmp_path: Path) -> AuditReport:
    """All that is foreign tries to be more than text."""
    run = audit_run(tmp_path, *TOKENS, unheard=1)
    facts = AgentFacts(
        run.agent.file, EVIL, EVIL, agent_name=EVIL, simulated=(EVIL,), not_simulated={EVIL: EVIL}, unseen=(EVIL,)
    )
    sessions = [
        each
        if each.start is None
        else replace(
            each, start=replace(each.start, path=tuple(replace(p, inside=EVIL, name=EVIL) for p in each.start.path))
        )
        for each in run.sessions
    ]
    sessions[-1] = replace(sessions[-1], silence=EVIL)
    return audit_report(AuditRun(facts, tuple(sessions), run.floor_s))


def test_what_is_foreign_is_text(evil: AuditReport) -> None:
    """On the page, where no mark-up of theirs is left, and in a terminal, where nothing moves."""
    text = page(evil)
    assert "script" not in Elements(text).names
    assert "<b>&" not in text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    for line in report_lines(evil, 80):
        assert line.plain.isprintable()


@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize("voice", FirstVoice)
def test_lines_fit_a_terminal(width: int, voice: FirstVoice, tmp_path: Path) -> None:
    """All but code and addresses, which are copied as they are."""
    report = audit_report(audit_run(tmp_path, *TOKENS, unheard=1, voice=voice), [objective("ttfw.p90<1s")])
    copied = {line.strip() for each in report.opportunities for line in (*each.rule.code.split("\n"), each.rule.link)}
    lines = [line.plain for line in report_lines(report, width)]
    assert [line for line in lines if len(line) > width and line.strip() not in copied] == []
    assert any(f"It {voice.value}" in line for line in lines)
    assert any("my_agent.py:6 entrypoint" in line for line in lines)
    assert all(any(each.rule.link in line for line in lines) for each in report.opportunities)


def test_a_line_that_is_evidence_twice_in_a_row_is_shown_once(tmp_path: Path) -> None:
    """With both of its waits."""
    report = report_of(tmp_path)
    (first, *_) = report.opportunities
    one = first.evidence[0]._replace(text="only_here()")
    twice = replace(first, evidence=(one, one._replace(what="another wait")))
    text = Elements(page(replace(report, opportunities=(twice,)))).text
    assert text.count("only_here()") == 1
    assert "another wait" in text

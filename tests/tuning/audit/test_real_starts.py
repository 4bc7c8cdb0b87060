"""Starts as LiveKit 1.8.9 made them on a real server: where their pieces are named otherwise than the fake providers' are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from firstword.telemetry import vocabulary as words
from firstword.tuning.audit.facts import AuditRun
from firstword.tuning.audit.opportunities import Opportunity
from firstword.tuning.audit.report import audit_report
from tests.tuning.audit.audited import SOURCE, audited_session, facts_of
from tests.tuning.observed import Stretch, line

SEGMENTS = "AgentActivity._pipeline_reply_task_impl.<locals>._produce_segments"


def piece(ms: int, kind: str, number: int, inside: str = "", held_by: str = "") -> Stretch:
    told = {words.INSIDE: inside} if inside else {}
    return ("entrypoint", ms, line(kind, number, **told, **({words.HELD_BY: held_by} if held_by else {})))


def greeting_by_the_llm(folder: Path, *greet: Stretch, connecting_s: float | None) -> Opportunity:
    """What an audit of this one start says of its language model."""
    (folder / "my_agent.py").write_text(SOURCE)
    session = audited_session(folder, greet)
    facts = replace(facts_of(folder), connecting_s=connecting_s)
    found = audit_report(AuditRun(facts, (session, session), (0.3,))).opportunities
    (only,) = [each for each in found if each.rule.name == "greeting-written-by-llm"]
    return only


def bounds(of: Opportunity) -> tuple[float, float]:
    """Of its interval: two sessions that are alike differ by what the start leaves open, and by nothing else."""
    assert of.saving_range is not None
    return of.saving_range.low, of.saving_range.high


STREAMED = (
    piece(28, words.EVENT_LOOP, 8, held_by="TTS._connect_ws"),
    piece(20, words.EVENT_LOOP, 8, "AgentSession.start", held_by="LLM._prewarm_impl"),
    piece(24, words.EVENT_LOOP, 9, held_by="LLMStream._run"),
    piece(436, words.NETWORK, 9, SEGMENTS),
    piece(174, words.NETWORK, 9, "BufferedTokenStream.__anext__"),
    piece(144, words.NETWORK, 9, "SynthesizeStream._run.<locals>._recv_task"),
)
"""LiveKit's quickstart, with the first words of the answer waited for by who makes segments of them."""


def test_what_waits_for_the_first_words_is_named_otherwise(tmp_path: Path) -> None:
    """The loop that the language model held, its first token, and half of what was waited for the others: the voice may be asked before."""
    found = greeting_by_the_llm(tmp_path, *STREAMED, connecting_s=None)
    assert found.saving_s == pytest.approx(0.024 + 0.436 + 0.174 / 2, abs=0.001)
    assert bounds(found) == pytest.approx((0.024 + 0.436, 0.024 + 0.436 + 0.174), abs=0.001)


def test_a_connection_that_the_language_model_hid_is_waited_for(tmp_path: Path) -> None:
    """Begun 20 ms before the voice would be asked, it takes 80 of its 100 ms then."""
    hidden = greeting_by_the_llm(tmp_path, *STREAMED, connecting_s=0.1)
    assert hidden.saving_s == pytest.approx(0.024 + 0.436 + 0.174 / 2 - 0.08, abs=0.001)
    assert bounds(hidden)[0] == pytest.approx(0.024 + 0.436 - 0.1, abs=0.001)


def test_a_connection_that_nobody_began_is_not_waited_for(tmp_path: Path) -> None:
    """It is there already, or is made on the path, which says so."""
    found = greeting_by_the_llm(tmp_path, *STREAMED[1:], connecting_s=0.1)
    assert found.saving_s == pytest.approx(0.024 + 0.436 + 0.174 / 2, abs=0.001)

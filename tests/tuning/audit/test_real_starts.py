"""Starts as LiveKit 1.8.9 made them on a real server: where their pieces are named otherwise than the fake providers' are."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstword.telemetry import vocabulary as words
from firstword.tuning.audit.facts import AuditRun
from firstword.tuning.audit.opportunities import Opportunity
from firstword.tuning.audit.report import audit_report
from tests.tuning.audit.audited import audited_session, facts_of
from tests.tuning.observed import Stretch, line

SEGMENTS = "AgentActivity._pipeline_reply_task_impl.<locals>._produce_segments"


def piece(ms: int, kind: str, number: int, inside: str = "", held_by: str = "") -> Stretch:
    told = {words.INSIDE: inside} if inside else {}
    return ("entrypoint", ms, line(kind, number, **told, **({words.HELD_BY: held_by} if held_by else {})))


def offered(rule: str, folder: Path, *greet: Stretch, beside: str = "") -> Opportunity:
    """What an audit of this one start offers by a rule."""
    session = audited_session(folder, greet, beside)
    found = audit_report(AuditRun(facts_of(folder), (session, session), (0.3,))).opportunities
    (only,) = [each for each in found if each.rule.name == rule]
    return only


def greeting_by_the_llm(folder: Path, *greet: Stretch, beside: str = "") -> Opportunity:
    """What an audit of this one start says of its language model."""
    return offered("greeting-written-by-llm", folder, *greet, beside=beside)


STREAMED = (
    piece(28, words.EVENT_LOOP, 8, held_by="TTS._connect_ws"),
    piece(20, words.EVENT_LOOP, 8, "AgentSession.start", held_by="LLM._prewarm_impl"),
    piece(24, words.EVENT_LOOP, 9, held_by="LLMStream._run"),
    piece(436, words.NETWORK, 9, SEGMENTS),
    piece(5, words.COMPUTING, 9, "SynthesizeStream.__anext__"),
    piece(100, words.NETWORK, 9, "BufferedTokenStream.__anext__"),
    piece(250, words.NETWORK, 9, "SynthesizeStream._run.<locals>._recv_task"),
)
"""LiveKit's quickstart after the room, which is there after 180 ms. The first words of the answer are waited for by who makes segments of
them; the voice is asked after 793 ms."""
WRITTEN_S = 0.024 + 0.436 + 0.100


def test_what_waits_for_the_first_words_is_named_otherwise(tmp_path: Path) -> None:
    """The loop that the language model held, its first token, and the rest of its first sentence."""
    assert greeting_by_the_llm(tmp_path, *STREAMED).saving_s == pytest.approx(WRITTEN_S, abs=0.001)


def test_a_connection_that_the_language_model_hid_is_waited_for(tmp_path: Path) -> None:
    """Begun in the session's start, it is there 57 ms after the voice would be asked."""
    found = greeting_by_the_llm(tmp_path, *STREAMED, beside="200000+90000-0>793000")
    assert found.saving_s == pytest.approx(WRITTEN_S - (0.290 - 0.233), abs=0.001)


def test_a_connection_that_is_begun_later_is_there_later(tmp_path: Path) -> None:
    """Begun 12 ms after the question was put to the language model: without it 12 ms sooner, and so at 308 ms."""
    found = greeting_by_the_llm(tmp_path, *STREAMED, beside="240000+80000-0>793000")
    assert found.saving_s == pytest.approx(0.793 - 0.308, abs=0.001)


def test_a_connection_that_was_long_there_is_not_waited_for(tmp_path: Path) -> None:
    """Nor is one that cannot be: a trace may say anything."""
    for number, told in enumerate(
        (
            "120000+60000-0>793000",
            "-50000+60000-0>793000",
            "700000+200000-0>793000",
            "200000+90000-95000>793000",
            "nonsense",
        )
    ):
        assert greeting_by_the_llm(tmp_path / str(number), *STREAMED, beside=told).saving_s == pytest.approx(
            WRITTEN_S, abs=0.001
        )


CONNECTED = (
    piece(
        56, words.EVENT_LOOP, 8, "ConnectionPool.prewarm.<locals>._prewarm_impl", held_by="AgentActivity._start_session"
    ),
    piece(69, words.COMPUTING, 8, "TTS._ensure_session"),
    piece(44, words.EVENT_LOOP, 8, "ClientSession._ws_connect", held_by="LLM._prewarm_impl"),
    piece(115, words.NETWORK, 8, "TTS._connect_ws"),
    piece(257, words.NETWORK, 9, "SynthesizeStream._run.<locals>._recv_task"),
)
"""`session.start` and `say`: the first words wait for the voice's connection, which `session.start` begins when the room is there, after 180 ms."""


def test_a_connection_is_made_while_the_room_is_joined(tmp_path: Path) -> None:
    """It is begun at 100 ms. It holds the loop for 169, and is there at 384; the room is joined by 225."""
    found = offered("provider-connected-at-first-use", tmp_path, *CONNECTED)
    assert found.saving_s == pytest.approx(0.464 - 0.384, abs=0.001)


@pytest.mark.parametrize("began_ms", [180, 200, 240])
def test_the_session_goes_on_while_a_connection_is_made(began_ms: int, tmp_path: Path) -> None:
    """The rest of its start, and `say`, were through at 350 ms. Now they are so later by what the loop is held when the room is joined: at 395."""
    beside = f"{began_ms}000+{350 - began_ms}000-0>464000"
    found = offered("provider-connected-at-first-use", tmp_path, *CONNECTED, beside=beside)
    assert found.saving_s == pytest.approx(0.464 - 0.395, abs=0.001)


def test_the_session_is_not_delayed_by_what_is_made_before(tmp_path: Path) -> None:
    """60 ms of what it took it waited for the loop, which the connection held: it is through at 335, before the connection."""
    found = offered("provider-connected-at-first-use", tmp_path, *CONNECTED, beside="180000+170000-60000>464000")
    assert found.saving_s == pytest.approx(0.464 - 0.384, abs=0.001)

"""When only the caller was missing, as the pieces of an observed path and what LiveKit reported say it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firstword.telemetry.observed_layout import absence
from firstword.telemetry.observed_path import ObservedKind, ObservedPiece
from firstword.telemetry.record import Dispatch, Outcome, Start

START = Start(
    start=0,
    end=900,
    first_step=0,
    outcome=Outcome.FIRST_WORD,
    tasks=(),
    phases=(),
    last=None,
    dispatch=Dispatch.AHEAD,
    joined=600,
)
CONNECTING = ObservedPiece(ObservedKind.OUTSIDE, 0, 100)
PUBLISHING = ObservedPiece(ObservedKind.COMPUTING, 100, 150)
ANSWER = ObservedPiece(ObservedKind.OUTSIDE, 150, 650)
SPEAKING = ObservedPiece(ObservedKind.NETWORK, 650, 900)


def test_their_coming_ends_it() -> None:
    """Of an agent that waits for them."""
    arrival = replace(ANSWER, is_arrival=True)
    assert absence(START, [CONNECTING, PUBLISHING, arrival, SPEAKING], connected=90) == (150, 600)


@pytest.mark.parametrize("kind", [ObservedKind.OUTSIDE, ObservedKind.CALLER_SOUND])
def test_their_answer_ends_it(kind: ObservedKind) -> None:
    """Of an agent that publishes its voice, and speaks once somebody has subscribed, or has been heard: they came before that."""
    answer = replace(ANSWER, kind=kind)
    assert absence(START, [CONNECTING, PUBLISHING, answer, SPEAKING], connected=90) == (150, 600)


@pytest.mark.parametrize("connected", [None, 650])
def test_the_way_to_the_room_is_the_agents(connected: int | None) -> None:
    """Whoever joins meanwhile waits for it."""
    assert absence(START, [replace(ANSWER, start=0), SPEAKING], connected) is None


@pytest.mark.parametrize(
    "kind", [ObservedKind.NETWORK, ObservedKind.TIMER, ObservedKind.THREAD, ObservedKind.COMPUTING]
)
def test_what_another_kind_of_wait_was_for_is_the_agents(kind: ObservedKind) -> None:
    """A provider, a timer, a thread answer nobody's coming."""
    assert absence(START, [CONNECTING, PUBLISHING, replace(ANSWER, kind=kind), SPEAKING], connected=90) is None


def test_who_was_there_all_the_time_was_never_absent() -> None:
    """The job came with them."""
    start = replace(START, joined=0, dispatch=Dispatch.JOIN)
    assert absence(start, [CONNECTING, PUBLISHING, ANSWER, SPEAKING], connected=90) is None

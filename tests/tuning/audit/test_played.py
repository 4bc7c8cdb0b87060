"""Observed starts as chains: removed pieces, stretches beside others, a caller who came later."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstword.telemetry import vocabulary as words
from firstword.tuning.audit.played import ObservedChain, observed_chain
from firstword.tuning.audit.statements import AgentSource
from firstword.tuning.files import Files
from firstword.tuning.source_text import SourceText
from firstword.tuning.sources import Query
from firstword.tuning.start import start_of
from tests.tuning.observed import Stretch, line, observed_start
from tests.tuning.written import no_problem

DISPATCH: Stretch = ("dispatch", 100, {})
ABSENT: Stretch = (words.ABSENT_CALLER, 500, {})


def stretch(ms: int, number: int, kind: str = words.NETWORK) -> Stretch:
    return ("entrypoint", ms, line(kind, number))


def chain(folder: Path, *stretches: Stretch, absent_ms: int = 0) -> ObservedChain:
    """The chain of a start; each line of its agent is a statement."""
    (folder / "my_agent.py").write_text("async def entrypoint(ctx):\n" + "    await ctx.step()\n" * 8)
    took = sum(ms for _, ms, _ in stretches) + 100
    (folder / "start.jsonl").write_text(
        observed_start(connect=(DISPATCH,), greet=stretches, root={words.TTFW: (took - absent_ms) / 1000})
    )
    (trace,) = Files(folder / "start.jsonl").traces(Query(), no_problem)
    found = observed_chain(start_of(trace), AgentSource(SourceText(folder), "my_agent.py"))
    assert found is not None
    return found


def ms(seconds: float) -> int:
    return round(seconds * 1000)


def test_a_wait_beside_a_longer_one_costs_nothing(tmp_path: Path) -> None:
    """100 of dispatch; 120 beside 300; then 200 that need both."""
    played = chain(tmp_path, stretch(120, 2), stretch(300, 3), stretch(200, 4))
    assert ms(played.played_s()) == 720
    assert ms(played.beside(0, None, 2)) == 600


def test_a_longer_wait_is_waited_for_where_it_is_needed(tmp_path: Path) -> None:
    """400 beside 100 and 150, needed by the last, of 200."""
    played = chain(tmp_path, stretch(100, 2), stretch(400, 3), stretch(150, 4), stretch(200, 5))
    assert ms(played.beside(1, None, 3)) == 100 + 400 + 200
    assert ms(played.beside(1, 0, 3)) == 100 + 100 + 400 + 200


def test_computing_beside_computing_gains_nothing(tmp_path: Path) -> None:
    """There is one event loop; in a thread it does."""
    played = chain(tmp_path, stretch(120, 2, words.COMPUTING), stretch(300, 3, words.COMPUTING), stretch(200, 4))
    assert ms(played.beside(0, None, 2)) == 720
    assert ms(played.beside(0, None, 2, in_a_thread=True)) == 600


def test_what_was_over_before_the_caller_came_saves_nothing(tmp_path: Path) -> None:
    """They waited for the last 200 alone, whatever was before."""
    played = chain(tmp_path, stretch(120, 2), ABSENT, stretch(200, 4), absent_ms=720)
    assert ms(played.played_s()) == 200
    assert ms(played.without(played.stretches[0].pieces)) == 200
    assert ms(played.without(played.stretches[-1].pieces)) == 0


def test_a_dispatch_may_go(tmp_path: Path) -> None:
    played = chain(tmp_path, stretch(120, 2), stretch(200, 4))
    assert ms(played.without(played.dispatch)) == 320


def test_a_start_that_was_not_observed_has_no_chain(tmp_path: Path) -> None:
    (tmp_path / "start.jsonl").write_text(observed_start(root={words.METHOD: words.GUESSED}))
    (trace,) = Files(tmp_path / "start.jsonl").traces(Query(), no_problem)
    assert observed_chain(start_of(trace), AgentSource(SourceText(tmp_path), "my_agent.py")) is None


@pytest.mark.parametrize("gone", [0, 1])
def test_a_piece_that_takes_no_time(gone: int, tmp_path: Path) -> None:
    """The others go on as they did."""
    played = chain(tmp_path, stretch(120, 2), stretch(200, 4))
    assert ms(played.without(played.stretches[gone].pieces)) == (300, 220)[gone]

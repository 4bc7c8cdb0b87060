"""What `benchmarks.two_methods` counts as agreeing, and what not."""

from __future__ import annotations

from pathlib import Path

from benchmarks.two_methods import Pair, instants, pairs, passages, report, shared_us
from firstword.telemetry.record import Dispatch, Outcome, Phase, Start, Task
from firstword.telemetry.vocabulary import COMPUTING, DECLARED, TIMER
from tests.tuning.observed import Stretch, line, observed_start
from tests.tuning.written import T0, write


def at(ms: int) -> int:
    """ns since the Unix epoch."""
    return T0 + ms * 1_000_000


def declared() -> Start:
    """Dispatch 100 ms, the room 50, the account 150, the greeting 200."""
    tasks = (
        Task("room", ready=at(100), begin=at(100), end=at(150)),
        Task("account", ready=at(150), begin=at(150), end=at(300), needs=("room",)),
        Task("greeting", ready=at(300), begin=at(300), end=at(500), needs=("account",)),
    )
    phases = (Phase("connect", T0, at(150)), Phase("wait", at(150), at(150)), Phase("greet", at(150), at(500)))
    return Start(
        start=T0,
        end=at(500),
        first_step=at(100),
        outcome=Outcome.FIRST_WORD,
        tasks=tasks,
        phases=phases,
        last="greeting",
        first_word_needs=("room", "account", "greeting"),
        dispatch=Dispatch.JOIN,
        joined=T0,
        received=T0,
    )


def both(folder: Path, *greet: Stretch) -> Pair:
    """The start above, and an observed one that has these pieces after the room."""
    (trace_id,) = write(folder, declared())
    connect: tuple[Stretch, ...] = (("dispatch", 100, {}), ("join", 50, line(TIMER, 5, "join")))
    (folder / "observed.jsonl").write_text(
        observed_start(7, connect=connect, greet=greet, root={DECLARED: trace_id})
        + observed_start(8, root={DECLARED: "f" * 32})
    )
    (pair,) = pairs(folder)
    return pair


def test_paths_that_go_over_at_the_same_instants_agree(tmp_path: Path) -> None:
    """Whatever the observed one calls its pieces; a start whose declared trace is lost is no pair."""
    pair = both(tmp_path, ("load", 150, line(TIMER, 9, "load")), ("say", 200, line(TIMER, 12, "say")))
    assert set(instants(pair).values()) == {0}
    assert [(passage.name, passage.distance_us) for passage in passages(pair)] == [
        ("room > account", 0),
        ("account > greeting", 0),
    ]
    assert shared_us(pair)["account", "timer my_agent.py:9 load"] == 149_999
    assert report("tuned", [pair], 1)
    assert not report("tuned", [pair], 2)


def test_a_path_that_goes_another_way_is_told_by_its_borders(tmp_path: Path) -> None:
    """Here it never goes over from the account to the greeting, and the first word comes 20 ms later."""
    pair = both(tmp_path, ("load", 370, line(TIMER, 9, "load")))
    assert instants(pair)["first word"] == 20_000
    (missed,) = (passage for passage in passages(pair) if passage.is_missed)
    assert (missed.name, missed.distance_us, missed.across) == (
        "account > greeting",
        149_999,
        "timer my_agent.py:9 load",
    )
    assert not report("tuned", [pair], 1)


def test_a_busy_loop_may_have_no_border(tmp_path: Path) -> None:
    """Where both tasks computed, one after the other, nobody waited for anything: the paths do not contradict each other."""
    pair = both(tmp_path, ("load", 350, line(COMPUTING, 9, "load")))
    (passage,) = (passage for passage in passages(pair) if not passage.is_border)
    assert (passage.name, passage.is_busy, passage.is_missed) == ("account > greeting", True, False)
    assert report("tuned", [pair], 1)

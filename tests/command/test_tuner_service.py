"""firstword.command.tuner: weeks without a hand, and whatever a source, a disk, a clock or a second tuner may do meanwhile."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from firstword.agent.flags.flag_file import FlagFileError, read
from firstword.agent.flags.improvements import DRAWN, NO_CHANGE
from firstword.agent.flags.writer import Move
from firstword.command.source_options import Reading
from firstword.command.tuner.counts import WorkerCounts
from firstword.command.tuner.evidence import TracesEvidence
from firstword.command.tuner.flag_store import FileStore
from firstword.telemetry.record import Outcome
from firstword.tuning.files import Files
from firstword.tuning.observation import Observation
from firstword.tuning.sampling import Sampling
from firstword.tuning.sources import Query
from firstword.tuning.trust import AHEAD_S, SILENT_S
from tests.agent.flag_files import flag, shared, text
from tests.command.sessions_written import write
from tests.command.tuner_weeks import BEGIN, Days
from tests.tuning.answering import Reply, Request, serving
from tests.tuning.sessions_drawn import World

GOOD, BAD = "parallel-init", "light-connect"


def file_of(folder: Path, **shares: int) -> FileStore:
    """A flag file that nobody has moved for long."""
    path = folder / "flags.json"
    path.write_text(text(**{name: shared(percent) for name, percent in shares.items()}))
    os.utime(path, (1e8, 1e8))
    return FileStore(path)


def world(on: dict[str, bool]) -> World:
    """The good flag makes a start a fifth faster, the bad one a third slower."""
    return World((0.8 if on.get(GOOD) else 1.0) * (1.35 if on.get(BAD) else 1.0))


def test_a_good_flag_goes_up_and_a_slow_one_back_without_a_hand(tmp_path: Path) -> None:
    """After the trial; each step is in the file, the metrics and the history, with its reason."""
    days = Days(file_of(tmp_path, parallel_init=0, light_connect=0), world)
    days.week(40)
    assert days.shares() == {GOOD: 100, BAD: 0, NO_CHANGE: 0}
    assert days.moves()[:2] == [(NO_CHANGE, 50), (NO_CHANGE, 0)]
    assert [to for name, to in days.moves() if name == GOOD] == [5, 25, 50, 100]
    assert [to for name, to in days.moves() if name == BAD] == [5, 0]
    assert days.metric("firstword.tuner.share") == {(GOOD,): 100, (BAD,): 0, (NO_CHANGE,): 0}
    assert days.metric("firstword.tuner.steps") == {
        ("trial", NO_CHANGE): 2,
        ("start", GOOD): 1,
        ("ramp", GOOD): 3,
        ("start", BAD): 1,
        ("turn_back", BAD): 1,
    }
    assert set(days.metric("firstword.tuner.holding").values()) == {0}
    assert days.metric("firstword.tuner.last_look") == {(): days.now}
    history = days.store.history()
    assert [(each.flag, each.to) for each in history if each.flag] == days.moves()
    turned = next(each for each in history if each.action == "turn_back")
    assert "sessions met it" in turned.reason


def test_the_first_use_is_a_trial(tmp_path: Path) -> None:
    """Nothing ramps before a flag that changes nothing has been seen to change nothing; a flag that harms is turned back meanwhile."""
    store = file_of(tmp_path, parallel_init=0, light_connect=0)
    store.write([Move(GOOD, 50, "set by hand", BEGIN)], [])
    days = Days(store, lambda on: World(2.0 if on.get(GOOD) else 1.0))
    days.sessions(5)
    days.look()
    assert (days.moves(), days.held()) == ([(NO_CHANGE, 50)], "trial")
    days.sessions(190)
    days.look()
    assert days.moves()[1:] == [(GOOD, 0)]
    days.sessions(150)
    days.look()
    assert (days.shares()[NO_CHANGE], days.held()) == (50, "trial")  # its count began anew with the move
    days.sessions(80)
    days.look()
    assert days.moves()[2:] == [(NO_CHANGE, 0)]
    assert store.read().file.flags[NO_CHANGE].metadata["tune.reason"].startswith("no difference in 2")
    days.service = days.another()  # a restart remembers it
    days.sessions(60)
    days.look()
    assert (days.held(), days.moves()[3:]) == (None, [(BAD, 5)])


@pytest.mark.parametrize("fault", ["lost", "slow"])
def test_a_trial_that_finds_a_difference_stops_the_ramps(tmp_path: Path, fault: str) -> None:
    """Sessions of one variant get lost, or are slower: then no other figure can be trusted, until somebody begins it anew."""
    days = Days(
        file_of(tmp_path, parallel_init=0), lambda on: World(1.6 if fault == "slow" and on.get(NO_CHANGE) else 1)
    )
    if fault == "lost":
        days.traced = lambda s: None if s.flags.get(NO_CHANGE) == "on" and s.ttfw > 1.1 else s
    days.week(7)
    assert days.moves() == [(NO_CHANGE, 50), (NO_CHANGE, 0)]
    assert days.held() == "trial_failed"
    assert days.looks[-1].held is not None
    assert days.looks[-1].held.words.startswith("a flag that changes nothing makes a difference: ")
    assert days.metric("firstword.tuner.holding")[("trial_failed",)] == 1


def test_a_dry_run_says_and_writes_nothing(tmp_path: Path) -> None:
    """Neither flags, history nor lease."""
    store = file_of(tmp_path, parallel_init=50)
    before = (tmp_path / "flags.json").read_bytes()
    days = Days(store, world, apply=False)
    days.week(2, between=1000)
    decision = days.looks[-1].decision
    assert decision is not None
    assert (decision.steps[0].flag, decision.steps[0].to, days.held()) == (GOOD, 100, None)
    assert [path.name for path in tmp_path.iterdir()] == ["flags.json"]
    assert (tmp_path / "flags.json").read_bytes() == before


def test_it_holds_on_a_source_that_is_away_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    """However long; the history has both, once each."""
    days = Days(file_of(tmp_path, parallel_init=0), world)
    days.prove()
    shares = days.shares()
    days.away = "Jaeger at http://127.0.0.1:9: it can't be read"
    days.week(5)
    assert (days.held(), days.shares()) == ("source", shares)
    assert days.metric("firstword.tuner.holding")[("source",)] == 1
    days.away = ""
    days.week(1)
    assert (days.held(), days.moves()[-1][0]) == (None, GOOD)
    said = [each.reason for each in days.store.history() if each.action in ("hold", "works")]
    assert said[1:] == [
        "nothing speaks against ramping",
        "Jaeger at http://127.0.0.1:9: it can't be read",
        "nothing speaks against ramping",
    ]


def ramping(folder: Path) -> Days:
    """A tuner that would ramp a good flag from 50 to 100 % at the next look."""
    days = Days(file_of(folder, parallel_init=0), world)
    days.prove()
    while days.shares()[GOOD] < 50:
        days.week(1)
    days.sessions(1500)
    return days


def test_what_it_cannot_trust_it_does_not_ramp_on(tmp_path: Path) -> None:
    """Sessions of the future, a store that forgets, traces that were lost, silence for a day, a server with another clock."""
    days = ramping(tmp_path)
    whole = list(days.seen)
    days.seen.append(dataclasses.replace(whole[-1], time=days.now + AHEAD_S + 1))
    days.look()
    assert days.held() == "clock"
    days.seen = whole
    days.problems = 100
    days.look()
    assert days.held() == "lost"
    days.problems = 0
    days.capped = 100_000
    days.look()
    assert days.held() == "capped"
    days.capped = None
    days.seen = whole[:-300] + whole[-200:]
    days.look()
    assert days.held() == "shrunk"
    days.seen = list(whole)
    days.now += SILENT_S + 1
    days.look()
    assert days.held() == "silent"
    assert days.shares()[GOOD] == 50
    days.sessions(50)
    days.look()
    assert (days.held(), days.shares()[GOOD]) == (None, 100)


def test_forged_or_capped_traces_are_another_number_than_workers_counted(tmp_path: Path) -> None:
    """Where a Prometheus is named. It holds also where that is away."""
    days = ramping(tmp_path)
    counted = 0.0

    def answer(_: object) -> Reply:
        result = {"data": {"result": [{"value": [days.now, str(counted)]}]}}
        return Reply(body=json.dumps(result).encode()) if counted else Reply(500)

    with serving(answer) as url:
        days.service.counts = WorkerCounts(url)
        for wrong, cause in ((150.0, "forged traces"), (5000.0, "a store that is full"), (0.0, "500")):
            counted = wrong
            days.look()
            assert days.held() == "counts"
            assert days.looks[-1].held is not None
            assert cause in days.looks[-1].held.words
        since = max(look.time for look in days.looks if look.written)
        counted = 1.1 * len(days.starts(since).starts)
        days.look()
    assert (days.held(), days.shares()[GOOD]) == (None, 100)
    days.service.counts = WorkerCounts("http://127.0.0.1:9")
    days.look()
    assert days.held() == "counts"


def test_a_store_that_keeps_no_usual_start_is_no_source(tmp_path: Path) -> None:
    """All it has were slow, or had no first word: no figure can be made of them."""
    days = ramping(tmp_path)
    kept = [dataclasses.replace(each, sampling=Sampling(0.0, always_kept=True)) for each in days.seen]
    days.service.evidence = TracesEvidence(Reading(Files(write(tmp_path / "t.jsonl", kept)), Query()))
    days.look()
    assert (days.held(), days.shares()[GOOD]) == ("source", 50)
    assert days.looks[-1].held is not None
    assert "expected FIRSTWORD_KEEP_PERCENT above 0" in days.looks[-1].held.words


def test_a_sampled_store_that_says_so_is_trusted_and_another_is_not(tmp_path: Path) -> None:
    """Of a hundred starts a quarter is kept. Each says that it stands for four, or says nothing: then workers counted more."""
    called: list[float] = []
    says = True

    def sampled(session: Observation) -> Observation | None:
        called.append(session.time)
        always = session.outcome is not Outcome.FIRST_WORD
        if not always and len(called) % 4:
            return None
        return dataclasses.replace(session, sampling=Sampling(25.0, always)) if says else session

    def answer(request: Request) -> Reply:
        begin = days.now - float(re.findall(r"\[(\d+)s\]", request[1]["query"])[0])
        result = {"data": {"result": [{"value": [days.now, str(sum(time >= begin for time in called))]}]}}
        return Reply(body=json.dumps(result).encode())

    days = Days(file_of(tmp_path, parallel_init=0), world, traced=sampled)
    with serving(answer) as url:
        days.service.counts = WorkerCounts(url)
        while days.shares().get(GOOD) != 50 and len(days.looks) < 60:
            days.week(1, between=1000)
        assert {look.held.holding.value for look in days.looks if look.held} == {"trial"}
        assert (days.shares()[GOOD], len(days.seen) < len(called) / 3) == (50, True)
        says = False
        days.week(4, between=1000)
    assert days.held() == "counts"


def test_harm_is_turned_back_in_doubt_too(tmp_path: Path) -> None:
    """A day in which nobody called does not keep a flag on that was seen to harm."""
    days = Days(file_of(tmp_path, parallel_init=0), world)
    days.prove()
    days.worlds = lambda on: World(errors=0.9 if on.get(GOOD) else 0.01)
    days.week(1)
    days.sessions(600)
    days.now += SILENT_S + 1
    days.look()
    assert days.moves()[-1] == (GOOD, 0)


def test_a_pause_stops_it_and_says_why(tmp_path: Path) -> None:
    """A file that anybody can make; whatever is in it is the reason."""
    days = ramping(tmp_path)
    (tmp_path / "flags.json.paused").write_text("incident 7\n")
    days.look()
    assert (days.held(), days.shares()[GOOD]) == ("paused", 50)
    assert days.looks[-1].held is not None
    assert days.looks[-1].held.words.endswith(": incident 7")
    (tmp_path / "flags.json.paused").unlink()
    days.look()
    assert days.shares()[GOOD] == 100


def test_of_two_that_start_at_once_one_works(tmp_path: Path) -> None:
    """The other says whose turn it is, and takes over when that one ends; also where somebody deletes the lock's file."""
    days = ramping(tmp_path)
    second = Days(FileStore(tmp_path / "flags.json"), world, now=days.now, seen=days.seen)
    second.look()
    assert second.held() == "standby"
    assert second.looks[-1].held is not None
    assert f"process {os.getpid()} on " in second.looks[-1].held.words
    (tmp_path / "flags.json.lease").unlink()
    assert second.store.lease.hold() is None
    days.look()
    assert days.held() == "standby"
    second.store.lease.release()
    days.look()
    assert (days.held(), days.shares()[GOOD]) == (None, 100)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_as_it_writes_it_writes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Flags and history: else a move would have no reason. Then it ends, and the signals mean what they meant."""
    days, rename = ramping(tmp_path), Path.replace

    def replace(beside: Path, target: Path) -> Path:
        if target.name == "flags.json":
            signal.raise_signal(number)
        return rename(beside, target)

    monkeypatch.setattr(Path, "replace", replace)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        days.look()
    assert days.shares()[GOOD] == 100
    assert (days.store.history()[-1].flag, days.store.history()[-1].to) == (GOOD, 100)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


class Killed(BaseException):
    """In place of SIGKILL, which no `except` sees either."""


def test_nothing_moves_wrongly_whatever_disturbs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same flags go where they went undisturbed. Each move is killed once in the middle of its write; then the source is
    away; then two tuners start at once."""
    path, rename, killing = tmp_path / "flags.json", Path.replace, False
    days = Days(file_of(tmp_path, parallel_init=0, light_connect=0), world)

    def replace(beside: Path, target: Path) -> Path:
        if killing and target == path:
            raise Killed
        return rename(beside, target)

    monkeypatch.setattr(Path, "replace", replace)
    for _ in range(40):
        days.sessions(250)
        before, killing = days.shares(), True
        try:
            days.look()
        except Killed:
            killing = False
            assert days.shares() == before
            days.store.lease.release()  # the system takes it back from who is killed
            days.store = FileStore(path)
            days.service = days.another()
            days.away = "Jaeger at http://127.0.0.1:9: it can't be read"
            days.look()
            assert (days.held(), days.shares()) == ("source", before)
            days.away = ""
            second = Days(FileStore(path), world, now=days.now, seen=days.seen)
            days.look()
            second.look()
            assert (second.held(), second.moves()) == ("standby", [])
            assert len(days.looks[-1].written) == 1
    assert days.moves()[:2] == [(NO_CHANGE, 50), (NO_CHANGE, 0)]
    assert [to for name, to in days.moves() if name == GOOD] == [5, 25, 50, 100]
    assert [to for name, to in days.moves() if name == BAD] == [5, 0]
    assert [(each.flag, each.to) for each in days.store.history() if each.flag] == days.moves()


def test_a_file_that_cannot_be_read_is_waited_for(tmp_path: Path) -> None:
    """Somebody edits it, badly; nothing ends, and the history is not lost."""
    days = ramping(tmp_path)
    path = tmp_path / "flags.json"
    whole, history = path.read_bytes(), days.store.history()
    path.write_text("{")
    days.look()
    assert days.held() == "flags"
    path.write_bytes(whole)
    days.look()
    assert days.held() is None
    assert days.store.history()[: len(history)] == history


KILLED = """
import os, sys
from pathlib import Path
from firstword.agent.flags.improvements import DRAWN
from firstword.agent.flags.writer import FlagFileWriter, Move
left, replace, fsync = int(sys.argv[2]), Path.replace, os.fsync
def step(real):
    def counted(*arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return real(*arguments)
    return counted
Path.replace, os.fsync = step(replace), step(fsync)
FlagFileWriter(Path(sys.argv[1]), DRAWN).write([Move("parallel-init", 25, "why", 1.794e9)])
"""


@pytest.mark.parametrize("steps", range(7))
def test_killed_in_the_middle_of_a_write_leaves_a_whole_file(tmp_path: Path, steps: int) -> None:
    """At each step of it: the file is the old one or the new one, and the next tuner can write."""
    store = file_of(tmp_path, parallel_init=0)
    path = tmp_path / "flags.json"
    run = subprocess.run([sys.executable, "-c", KILLED, str(path), str(steps)], check=False, timeout=120)
    assert run.returncode in (0, -9)
    percent = read(path, DRAWN).flags[GOOD].percent
    assert percent in (0, 25)
    assert (percent == 25) == (steps >= 5)
    days = Days(store, world, now=BEGIN)
    days.sessions(5)
    days.look()
    assert days.moves() == [(NO_CHANGE, 50)]


def test_the_history_is_bounded_and_survives_rubbish(tmp_path: Path) -> None:
    """A line that is none is passed over; the oldest entries go."""
    from firstword.command.tuner.history import MOST_ENTRIES, entry

    store = file_of(tmp_path, parallel_init=0)
    store.record([entry(BEGIN + n, "hold", "x" * 5000) for n in range(MOST_ENTRIES)])
    path = tmp_path / "flags.json.history"
    path.write_text(path.read_text() + "rubbish\n[]\n{}\n")
    store.record([entry(BEGIN, "ramp", "faster", flag=GOOD, shares=(5, 25))])
    history = store.history()
    assert len(history) == MOST_ENTRIES
    assert history[-1].what == "parallel-init: ramp from 5 to 25 %"
    assert path.stat().st_size < 400_000


def test_where_it_cannot_write_it_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: nothing moves, and the next look tries again."""
    days = ramping(tmp_path)

    def full(*_: object) -> None:
        raise FlagFileError("flags.json: expected a file that can be written; possible cause: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(days.store, "write", full)
        days.look()
    assert (days.held(), days.shares()[GOOD]) == ("flags", 50)
    days.look()
    assert days.shares()[GOOD] == 100


def test_a_flag_with_a_rule_of_its_own_is_left_alone(tmp_path: Path) -> None:
    """As in a single `tune`."""
    store = file_of(tmp_path)
    (tmp_path / "flags.json").write_text(text(parallel_init=flag("off", {"if": [True, "on"]})))
    days = Days(store, world)
    days.prove()
    days.week(2)
    assert {name for name, _ in days.moves()} == {NO_CHANGE}

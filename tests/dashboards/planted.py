"""Starts that are known to the last figure, sent as a job's process sends them, and what else a dashboard shows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator

from opentelemetry.metrics import Meter

from firstword.agent import run_folder
from firstword.agent.process import start_metrics
from firstword.agent.worker_gauges import JobProcesses, WorkerFigures, observe_worker
from firstword.command.rescuer.instruments import RescueInstruments, RescueOutcome
from firstword.command.tuner.instruments import TunerInstruments
from firstword.telemetry.metrics import StartFigures, TaskFigures
from firstword.tuning.trust import Holding

FLAG = "light-connect"


def starts() -> Iterator[StartFigures]:
    """Twenty starts of which two failed, and one whose caller hung up. `weather` is a user's own task."""
    for number in range(20):
        failed = {18: "failed", 19: "timed_out"}.get(number)
        on = number % 2 == 0
        ttfw = 2.2 if number == 17 else 0.9 if on else 1.4
        yield StartFigures(
            outcome=failed or "first_word",
            dispatch="join" if number < 12 else "ahead",
            ttfw=None if failed else ttfw,
            init=None if failed else ttfw + 0.3,
            flags={FLAG: "on" if on else "off"},
            tasks=(
                TaskFigures(
                    task="account",
                    duration=0.27,
                    drag=0.2,
                    loop_time=0.01,
                    fallback=number < 4,
                    error_type="TimeoutError" if failed else None,
                    cache="hit" if number < 15 else "miss",
                ),
                TaskFigures("greeting", 0.42, 0.3, 0.02, fallback=False, error_type=None, cache="miss"),
                TaskFigures("weather", 0.6 if on else 1.6, 0.05, 0.15, fallback=False, error_type=None, cache=None),
            ),
            trace_id=0xA000 + number,
            span_id=0xB000 + number,
        )
    yield StartFigures("abandoned", "join", None, None, {FLAG: "on"}, (), 0xA100, 0xB100)


async def send() -> None:
    """Send them to the worker that this process is; and of dropped spans and failures of a helper what jobs tell it."""
    for start in starts():
        assert start_metrics.send(start)
        await asyncio.sleep(0)  # the worker reads: its queue has room for ten
    start_metrics.send_dropped(6)
    for _ in range(3):
        run_folder.send(json.dumps({"helper": "store", "reason": "late"}).encode())


def lose(datagrams: int) -> None:
    """What a job does for each datagram that finds the worker's queue full."""
    folder = run_folder.find()
    assert folder is not None
    with (folder / "lost").open("ab") as file:
        file.write(b"." * datagrams)


class Processes(JobProcesses):
    """Ten processes that could take a job after 1.2 s, and one after 9 s."""

    def record_starts(self, record: Callable[[float], None]) -> None:
        for seconds in (*[1.2] * 10, 9.0):
            record(seconds)


def worker(meter: Meter, figures: WorkerFigures, processes: JobProcesses) -> None:
    """What a worker says of itself, by its own instruments."""
    observe_worker(meter, lambda: figures, processes)


def rescuer(meter: Meter) -> None:
    """What became of three callers whose agent died, by the rescuer's own instruments."""
    instruments = RescueInstruments(meter)
    for outcome in (*[RescueOutcome.SEEN] * 3, *[RescueOutcome.RESCUED] * 2, RescueOutcome.GIVEN_UP):
        instruments.ended(outcome)


def tuner(meter: Meter) -> None:
    """What the tuner has done, by its own instruments: it looked half a minute ago, and holds since."""
    instruments = TunerInstruments(meter)
    instruments.shares({FLAG: 25})
    for action in ("ramp", "ramp", "turn_back"):
        instruments.stepped(FLAG, action)
    instruments.looked(time.time() - 30, None)
    instruments.looked(time.time(), Holding.SILENT)

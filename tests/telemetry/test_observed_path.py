"""Agents with one known fault each: the observed path names the line, and says of what kind the wait was."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from firstword.telemetry.loop_hooks import start_record, stop_record
from firstword.telemetry.loop_steps import Step
from firstword.telemetry.observed_path import ObservedKind, observed_path
from tests.telemetry.observed_agents import SLOW, Seen, line_of, observe, server, written
from tests.telemetry.planted_faults import FAULTS, Fault


async def seen(fault: Fault, folder: Path) -> Seen:
    """A run of the agent."""
    module = written(folder, fault.source, library=fault.library)
    with server(fault.serve) as port:
        return await observe(module.root, port)


@pytest.mark.parametrize("name", FAULTS)
async def test_the_line_is_named(name: str, tmp_path: Path) -> None:
    """It has nearly all of its 0.3 s, of its kind, also on a machine that is busy; the pieces cover the run."""
    fault = FAULTS[name]
    run = await seen(fault, tmp_path)
    assert run.kinds(line_of(tmp_path))[fault.kind] > 0.75 * SLOW, run.few
    for pieces in (run.pieces, run.few):
        assert all(one.end == other.start for one, other in pairwise(pieces))
        assert (pieces[0].start, pieces[-1].end) == (run.begin, run.end)


async def test_who_held_the_loop_is_named(tmp_path: Path) -> None:
    """Of a delay by the event loop: the function of the task that held it."""
    run = await seen(FAULTS["another task holds the loop"], tmp_path)
    assert "greedy" in {piece.held_by for piece in run.few if piece.kind is ObservedKind.EVENT_LOOP}


async def test_the_function_of_a_library_is_named(tmp_path: Path) -> None:
    """What was at work for the user's line."""
    run = await seen(FAULTS["a task of a library"], tmp_path)
    functions = {(piece.line and piece.line.function, piece.inside) for piece in run.few}
    assert ("root", "StreamReader._wait_for_data") in functions


async def test_a_wait_that_began_before_the_record(tmp_path: Path) -> None:
    """What set its timer was not seen, so it is outside, at the line that began to wait for it within the record."""
    module = written(
        tmp_path,
        """
import asyncio
async def sleeper():
    await asyncio.sleep(0.2)
async def root(task):
    await task  # here
""",
    )
    task = asyncio.create_task(module.sleeper())
    await asyncio.sleep(0.01)
    run = await observe(module.root, task)
    assert run.kinds(line_of(tmp_path))[ObservedKind.OUTSIDE] > 0.15


@pytest.mark.parametrize("asked_for", ["their coming", "what follows it"])
async def test_what_the_callers_coming_ended(asked_for: str) -> None:
    """Of the waits that events of the room ended, the one in which they came is marked, and no other."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[str] = asyncio.Queue()
    futures = {name: loop.create_future() for name in ("connected", "participant", "active", "subscribed")}
    record = start_record(loop)
    arrivals: list[Step | None] = []

    async def listen() -> None:
        while True:
            event = await events.get()
            if event == "participant":
                arrivals.append(record.current)
            futures[event].set_result(None)

    def server() -> None:
        for event in futures:
            time.sleep(0.1)
            loop.call_soon_threadsafe(events.put_nowait, event)

    listening = asyncio.create_task(listen())
    thread = threading.Thread(target=server)
    thread.start()
    await futures["connected"]
    await futures["participant" if asked_for == "their coming" else "active"]
    await futures["subscribed"]
    step, now = record.current, record.clock()
    stop_record(record)
    listening.cancel()
    thread.join()
    pieces = observed_path(step, now, record.begin, record.steps, arrival=arrivals[0])
    waits = [piece.is_arrival for piece in pieces if piece.kind is ObservedKind.OUTSIDE]
    assert waits == [False, True, False]

"""The observed path of random asyncio programs is the chain that each was built with, and covers the time without gap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise
from typing import Any

from hypothesis import given, settings

from firstword.telemetry.loop_hooks import start_record, stop_record
from firstword.telemetry.observed_path import ObservedKind, ObservedPiece, observed_path
from tests.properties import examples
from tests.telemetry.loop_program_parts import Wait
from tests.telemetry.loop_programs import Program, programs
from tests.telemetry.outside_world import WorldLoop

MS = 1_000_000
FILE = "/agent/program.py"


def compiled(source: str) -> Callable[[], Awaitable[None]]:
    """The function `root` of a program, of a file of the user's."""
    namespace: dict[str, Any] = {}
    exec(compile(source, FILE, "exec"), namespace)
    return namespace["root"]


def path_of(root: Callable[[], Awaitable[None]]) -> tuple[tuple[ObservedPiece, ...], int, int]:
    """The observed path of a program on virtual time, its begin and its end."""
    loop = WorldLoop()

    async def observed() -> tuple[tuple[ObservedPiece, ...], int, int]:
        record = start_record(asyncio.get_running_loop(), clock=loop.clock)
        await root()
        step, now = record.current, record.clock()
        stop_record(record)
        assert record.lost is None
        return observed_path(step, now, record.begin, record.steps), record.begin, now

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(observed())


def assert_covered(pieces: tuple[ObservedPiece, ...], begin: int, end: int) -> None:
    """They lie between the two, one after the other."""
    assert all(one.end == other.start for one, other in pairwise(pieces))
    assert all(piece.start < piece.end for piece in pieces)
    assert not pieces or (pieces[0].start, pieces[-1].end) == (begin, end)


def joined(waits: Iterable[Wait]) -> list[Wait]:
    """With one wait in place of several of one line and kind; computing has no line: that is for samples to say."""
    found: list[Wait] = []
    for wait in waits:
        line = 0 if wait.kind == ObservedKind.COMPUTING else wait.line
        begin = found.pop().begin if found and (found[-1].kind, found[-1].line) == (wait.kind, line) else wait.begin
        found.append(Wait(wait.kind, line, begin, wait.end))
    return found


@settings(max_examples=examples(300))
@given(programs())
def test_the_path_is_the_chain_that_the_program_was_built_with(program: Program) -> None:
    """Each wait of it, by its kind and line, and nothing else."""
    pieces, begin, end = path_of(compiled(program.source))
    assert_covered(pieces, begin, end)
    found: list[Wait] = []
    for piece in pieces:
        assert piece.kind is ObservedKind.COMPUTING or (piece.line is not None and piece.line.file == FILE)
        times = [round((instant - begin) / MS, 3) for instant in (piece.start, piece.end)]
        found.append(Wait(piece.kind, 0 if piece.line is None else piece.line.line, *times))
    assert joined(found) == joined(program.chain), program.source

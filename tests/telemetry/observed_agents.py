"""Small agents with one known fault each, as files of the user's, and the observed path of a run of one on a real event loop."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server, socket
from typing import Any

from firstword.telemetry.beside_path import BesideWork
from firstword.telemetry.loop_hooks import start_record, stop_record
from firstword.telemetry.loop_record import LoopRecord
from firstword.telemetry.loop_samples import LoopSampler
from firstword.telemetry.merged_pieces import merged
from firstword.telemetry.observed_path import ObservedKind, ObservedPiece, observed_path

Root = Callable[..., Awaitable[object]]

SLOW = 0.3
"""Seconds of the known fault."""


@dataclass(frozen=True)
class Seen:
    """What was observed of a run."""

    pieces: tuple[ObservedPiece, ...]
    begin: int
    end: int
    record: LoopRecord
    result: object

    def kinds(self, line: int) -> dict[ObservedKind, float]:
        """Seconds of a line of the agent's, by kind."""
        took = dict.fromkeys(ObservedKind, 0.0)
        for piece in self.pieces:
            if piece.line is not None and (piece.line.line, Path(piece.line.file).stem) == (line, "my_agent"):
                took[piece.kind] += (piece.end - piece.start) / 1e9
        return took

    @property
    def beside(self) -> list[BesideWork]:
        """What else was needed, in the order of the path."""
        return [work for piece in self.pieces for work in piece.beside]

    @property
    def few(self) -> tuple[ObservedPiece, ...]:
        """The pieces as they are exported."""
        return merged(self.pieces, 33)


def written(folder: Path, source: str, *, library: str = "") -> Any:
    """The module of an agent's source; `library` is importable there as `library`, an installed package."""
    packages = folder / "site-packages"
    packages.mkdir()
    (packages / "library.py").write_text(library)
    file = folder / "my_agent.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("my_agent", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(packages))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(packages))
        sys.modules.pop("library", None)
    return module


def line_of(folder: Path) -> int:
    """The one line of the agent that ends in `# here`."""
    lines = (folder / "my_agent.py").read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith("# here")]
    return found


async def observe(root: Root, *arguments: object) -> Seen:
    """Run it, with the record and the samples, and walk back from its end."""
    record = start_record(asyncio.get_running_loop())
    sampler = LoopSampler(record)
    try:
        result = await root(*arguments)
        step, now = record.current, record.clock()
    finally:
        sampler.stop()
        stop_record(record)
    assert record.lost is None
    return Seen(observed_path(step, now, record.begin, record.steps), record.begin, now, record, result)


@contextmanager
def server(serve: Callable[[socket], None]) -> Generator[int]:
    """A server on loopback, in a thread: `serve` gets each connection. The port."""
    with create_server(("127.0.0.1", 0)) as listening:
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=_served, args=(serve, connection)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(2)
            accepting.join()
            for thread in threads:
                thread.join()


def _served(serve: Callable[[socket], None], connection: socket) -> None:
    with connection:
        serve(connection)

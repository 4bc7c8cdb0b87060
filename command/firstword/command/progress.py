"""Shows how far a build or a rehearsal is, for whoever waits: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from firstword.rehearsal.servers import Progress

_EVERY_S = 10.0


@contextlib.contextmanager
def progress(out: Console) -> Generator[Callable[[Progress], None]]:
    """Gives a function that shows progress: a bar on the terminal `out`, else now and then a line on standard error."""
    if not out.is_terminal:
        yield Lines()
        return
    text = TextColumn("{task.description}", markup=False)
    with Bar(
        text,
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
        transient=True,
        refresh_per_second=2,
    ) as bar:
        row = bar.add_task("starting", total=None)
        yield lambda now: bar.update(row, description=now.doing, completed=now.done, total=now.total or None)


class Lines:
    """Writes progress in lines by `write`: one for each new kind of work, and within one a line every ten seconds."""

    def __init__(self, write: Callable[[str], object] = lambda line: sys.stderr.write(f"{line}\n")) -> None:
        self._write = write
        self._kind = ""
        self._said_at = -math.inf

    def __call__(self, now: Progress) -> None:
        """Hear how far it is."""
        kind = now.doing.partition(" ")[0]
        if kind != self._kind or time.monotonic() - self._said_at > _EVERY_S:
            self._kind, self._said_at = kind, time.monotonic()
            self._write(f"{now.doing} ({now.done}/{now.total})" if now.total else now.doing)

"""`firstword blame`: hands the starts of a source to `firstword.tuning.blame` and prints what made callers wait, the worst first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from firstword.command.observed import Json, number
from firstword.command.reading_report import ReadingReport
from firstword.command.source_options import Reading, TraceOptions, reads_traces
from firstword.command.terminal import BAD_INPUT, Columns, console, fail, say, tell, tell_json
from firstword.tuning.blame import Blame, BlameRow, NothingToBlame, TaskQuantiles, blame
from firstword.tuning.costs import Among, Kind, costs_of
from firstword.tuning.glance import Unfamiliar, glance
from firstword.tuning.sampling import WEIGHTED
from firstword.tuning.sources import Query, SourceError
from firstword.tuning.start import Method, method_of_all
from firstword.tuning.wording import amount, shown

_WIDE = 100
"""Columns from which on all figures of a task fit beside each other."""
_NAME = 20


@reads_traces
def command(
    folded: Annotated[
        bool, typer.Option("--folded", help="Print folded stacks for flame graphs: `phase;piece microseconds`.")
    ] = False,
    *,
    options: TraceOptions,
) -> None:
    """Show what made callers wait, task by task, over many sessions.

    The worst first, by `drag`: how much earlier the first word would have come had the task taken no time. `path` is its time on the
    critical path, `critical` in how many sessions it was there. `loop` is how long it held the event loop, `others` how long it did while
    the caller waited for something else. p50, p90 and p99 are of its duration.

    `dispatch` and `event loop` are no tasks and have no drag: they are ranked by their time on the path. So are the
    lines of source of observed starts, which have no tasks.

    **Examples**

    `firstword blame`

    `firstword blame --jaeger http://localhost:16686 --since 1h`

    `firstword blame --folded --traces traces/ | flamegraph.pl --countname us > blame.svg`
    """
    if folded and options.as_json:
        fail("--folded and --json are two forms; give one", code=BAD_INPUT)
    read = options.reading()
    tell(f"Traces: {read.source.name}", err=options.as_json or folded)
    found = _blame(read, options.files)
    if options.as_json:
        tell_json(as_json_object(found))
    elif folded:
        for stack, us in sorted(
            (f"{_frame(phase)};{_frame(str(cause))}", us) for (phase, cause), us in found.folded.items()
        ):
            tell(f"{stack} {round(us)}")
    else:
        _print(found)


def _frame(name: str) -> str:
    return shown(name).replace(";", ":")


def as_json_object(found: Blame) -> Json:
    """Returns the data of `blame --json` under its stable keys (docs/blame.md)."""
    return {
        "among": found.among.value,
        "sessions": found.starts,
        "method": method_of_all(found.methods),
        "left_out": {**{kind.value: count for kind, count in found.left_out.items()}, "no_caller": found.no_caller},
        "weighted": found.weighted,
        "waited_s": _quantiles(found.waited),
        "rows": [_row(row) for row in found.rows],
    }


def _row(row: BlameRow) -> Json:
    return {
        "kind": row.cause.kind.value,
        "name": row.cause.name,
        "sessions": row.starts,
        "drag_s": row.drag,
        "contention_s": row.contention,
        "path_s": row.path,
        "critical": row.critical,
        "duration_s": _quantiles(row.duration),
        "loop_time_s": row.loop_time,
        "cache": {"hits": row.hits, "misses": row.misses} if row.hits or row.misses else None,
    }


def _quantiles(of: TaskQuantiles) -> Json:
    return {"p50": number(of.p50), "p90": number(of.p90), "p99": number(of.p99)}


def _blame(read: Reading, files: Path | None) -> Blame:
    try:
        with ReadingReport(read.query) as account:
            if files is not None and read.query == Query():
                try:
                    return blame(glance(files, account.report))
                except Unfamiliar:
                    pass  # the long way says what is wrong, if anything is
            return blame(map(costs_of, read.traces(account.report)))
    except NothingToBlame as error:
        fail(f"{error} in {read.source.name}")
    except (SourceError, OSError) as error:
        fail(str(error))


def _print(found: Blame) -> None:
    for line in _summary(found):
        say(line)
    out = console()
    if not out.is_terminal:
        out.width = 2 * _WIDE  # a pipe gets whole lines, however wide it is thought to be
    wide = out.width >= _WIDE
    halves = ((True, True),) if wide else ((True, False), (False, True))
    for costs, times in halves:
        say()
        out.print(_table(found, costs=costs, times=times))


def _summary(found: Blame) -> Iterator[str]:
    one = found.starts == 1
    yield _counted(found.among, found.starts)
    beside = [_counted(kind, count) for kind, count in found.left_out.items() if count]
    if found.no_caller:
        beside.append(f"{amount(found.no_caller, 'session')} without a caller")
    if beside:
        yield f"Beside them: {', '.join(beside)}"
    if found.weighted:
        yield WEIGHTED
    waited = found.waited
    shown = f"{waited.p50:.3f} s" if one else f"p50 {waited.p50:.3f} s, p90 {waited.p90:.3f} s, p99 {waited.p99:.3f} s"
    what = {Among.HEARD: "Time to first word", Among.UNHEARD: "Until they ended", Among.OTHERS: "Duration"}
    yield f"{what[found.among]}: {shown}"
    if found.among is Among.UNHEARD:
        yield "Drag is by how much earlier they would have ended, not spoken"
    if Method.GUESSED in found.methods:
        yield "Path: guessed from times (last-finishing-child); drag needs to know what needed what"
    if Method.OBSERVED in found.methods:
        yield "Path: observed on the event loop, by line of source; drag needs a plan"


def _counted(among: Among, count: int) -> str:
    if among is Among.OTHERS:
        return f"{amount(count, 'trace')} that {'is no start' if count == 1 else 'are no starts'}, as LiveKit's own of each job"
    return f"{amount(count, 'session')} {'with' if among is Among.HEARD else 'without'} a first word"


def _table(found: Blame, *, costs: bool, times: bool) -> Columns:
    table = Columns(gap=2)
    table.add_column("ms", min_width=_NAME, overflow="fold")
    columns = [*(_COSTS if costs else ()), *(_TIMES if times else ())]
    if any(row.hits or row.misses for row in found.rows) and times:
        columns.append("hits")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in found.rows:
        cells = {
            "drag": _ms(row.drag),
            "path": _ms(row.path),
            "critical": _percent(row.critical),
            "loop": _ms(row.loop_time),
            "others": _ms(row.contention),
            "p50": _ms(row.duration.p50),
            "p90": _ms(row.duration.p90),
            "p99": _ms(row.duration.p99),
            "hits": _percent(row.hits / (row.hits + row.misses)) if row.hits or row.misses else "-",
        }
        style = "bold red" if row is found.rows[0] else None if row.path else "bright_black"
        name = str(row.cause) if row.cause.kind in (Kind.TASK, Kind.LINE, Kind.SPAN) else f"({row.cause})"
        table.add_row(name, *(cells[column] for column in columns), style=style)
    return table


_COSTS = ("drag", "path", "critical", "loop", "others")
_TIMES = ("p50", "p90", "p99")


def _ms(seconds: float | None) -> str:
    """Milliseconds, three figures at least where it is not 0."""
    if seconds is None or math.isnan(seconds):
        return "-"
    ms = seconds * 1000
    return "0" if ms < 0.005 else f"{ms:.2f}" if ms < 1 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

"""`firstword sessions`: lists the sessions whose callers waited longest, with what each needs to be looked at alone."""

from __future__ import annotations

from typing import Annotated

import typer

from firstword.command.reading_report import ReadingReport
from firstword.command.source_options import TraceOptions, reads_traces
from firstword.command.terminal import Columns, console, fail, say, tell, tell_json
from firstword.tuning.slow import Listed, as_json, slowest_sessions, waited_s
from firstword.tuning.sources import SourceError, TraceSource
from firstword.tuning.wording import amount, date

_MOST = 20
_DIGITS = 12
"""Of a trace's id: enough to name it, and the line fits a terminal."""


@reads_traces
def command(
    most: Annotated[int, typer.Option("--most", min=1, metavar="N", help="So many at most.")] = _MOST,
    *,
    options: TraceOptions,
) -> None:
    """List the sessions whose callers waited longest: when, how long, how it ended, what they waited for most.

    Those that failed or timed out come first. `critical-chain ID` shows one of them, `plot ID` draws it. With --jaeger a
    second list has the address of each in Jaeger.

    **Examples**

    `firstword sessions`

    `firstword sessions --jaeger http://localhost:16686 --since 14:00 --until 14:30`
    """
    read = options.reading()
    tell(f"Traces: {read.source.name}", err=options.as_json)
    try:
        with ReadingReport(read.query) as account:
            # no figure is made of them, so a store that keeps none but slow ones will do
            found = slowest_sessions(read.source.traces(read.query, account.report), most)
    except (SourceError, OSError) as error:
        fail(str(error))
    if not found.starts:
        fail(f"no start of ours with a caller in {read.source.name}{read.query.narrowed}")
    if options.as_json:
        tell_json([as_json(start, read.source.page(start.trace_id)) for start in found.sessions])
    else:
        _print(found, read.source)


def _print(found: Listed, source: TraceSource) -> None:
    shown = "all" if len(found.sessions) == found.starts else f"the {len(found.sessions):,} that waited longest"
    beside = [
        *([f"{found.no_caller:,} without a caller"] if found.no_caller else []),
        *([amount(found.others, "trace of others", "traces of others")] if found.others else []),
    ]
    say(f"Shown: {shown} of {amount(found.starts, 'session')}{'; beside them ' if beside else ''}{', '.join(beside)}")
    say()
    table = Columns(gap=2)
    for heading in ("began", "waited, s", "ended", "waited most for", "trace"):
        table.add_column(heading, justify="right" if heading == "waited, s" else "left", overflow="fold")
    for start in found.sessions:
        waited = f"{waited_s(start):.3f}"
        style = "bold red" if start.failed else None
        outcome = (start.outcome or "-").replace("_", " ")
        began, _, _ = date(start.start_ns).rpartition(" ")  # without the zone, which is the reader's
        row = (began, waited, outcome, start.critical_task or "-", start.trace_id[:_DIGITS])
        table.add_row(*row, style=style)
    out = console()
    if not out.is_terminal:
        out.width = 200  # a pipe gets whole lines
    out.print(table)
    pages = [page for start in found.sessions if (page := source.page(start.trace_id)) is not None]
    if pages:
        say()
    for page in pages:
        say(page)

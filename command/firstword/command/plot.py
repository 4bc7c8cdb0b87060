"""`firstword plot`: draws the waterfall of one session, or where the time of many goes, to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firstword.command.reading_report import ReadingReport
from firstword.command.source_options import Reading, TraceOptions, reads_traces, say_weighted
from firstword.command.terminal import BAD_INPUT, fail, tell, tell_json
from firstword.tuning import sessions
from firstword.tuning.notes import Report
from firstword.tuning.plot import DrawnSessions, NothingToPlot, percentiles
from firstword.tuning.sources import SourceError
from firstword.tuning.start import method_of_all, start_of
from firstword.tuning.svg import html, svg
from firstword.tuning.waterfall import waterfall
from firstword.tuning.wording import iso_date

_WRITERS = {".svg": svg, ".html": html}


@reads_traces
def command(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Ends in .svg or .html.")],
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="[SESSION]", help="A trace id or how it begins, a room's sid or a job's id.", show_default=False
        ),
    ] = None,
    slowest: Annotated[bool, typer.Option("--slowest", help="The slowest session in place of the median one.")] = False,
    many: Annotated[
        bool, typer.Option("--many", help="All sessions: where those at p10 to p99 spent their time.")
    ] = False,
    *,
    options: TraceOptions,
) -> None:
    """Draw the waterfall of one session, or where the time of many goes, as SVG or HTML.

    Phases, tasks, the critical path in one colour, and behind the line of the first word what was deferred. Without
    SESSION the median one. With `--many` a bar for each percentile session, by what its caller waited for.
    Hovering says more. The file needs nothing else, fits any width, and is light or dark as its reader's system is.

    **Examples**

    `firstword plot -o median.html`

    `firstword plot RM_tbGdLrz542Ma -o slow.svg --jaeger http://localhost:16686`

    `firstword plot --many -o all.html --traces rehearsals/2026-11-23-101500/traces/tuned`
    """
    write = _WRITERS.get(output.suffix.lower())
    if write is None:
        fail(f"--output {output} ends in neither; expected FILE.svg or FILE.html", code=BAD_INPUT)
    if (session is not None, slowest, many).count(True) > 1:
        fail("SESSION, --slowest and --many are three pictures; give one", code=BAD_INPUT)
    session, options = options.of_session(session)
    read = options.reading()
    try:
        with ReadingReport(read.query) as account:
            drawn = _drawn(read, session, slowest, many, account.report)
    except NothingToPlot as error:
        fail(f"{error}, in {read.source.name}")
    except (SourceError, sessions.NoSession, OSError) as error:
        fail(str(error))
    try:
        output.write_text(write(drawn.picture), encoding="utf-8")
    except OSError as error:
        fail(f"--output {output} can't be written: {error.strerror}", code=BAD_INPUT)
    tell(f"Traces: {read.source.name}", err=options.as_json)
    say_weighted(drawn.weighted, as_json=options.as_json)
    title = drawn.picture.title
    if options.as_json:
        began = [iso_date(instant) for instant in drawn.began_ns]
        told = {"file": str(output), "title": title, "trace_ids": drawn.trace_ids, "began": began}
        tell_json({**told, "method": method_of_all(drawn.methods)})
    else:
        tell(title)
        tell(f"Written: {output}")


def _drawn(read: Reading, session: str | None, slowest: bool, many: bool, report: Report) -> DrawnSessions:
    if many:
        return percentiles(read.traces(report))
    if session is not None:
        chosen = sessions.named(read.source, session, read.query, report)
    else:
        chosen = (sessions.slowest if slowest else sessions.median)(read.source, read.query, report)
    start = start_of(chosen.trace)
    return DrawnSessions(
        picture=waterfall(start, chosen.trace.spans),
        trace_ids=(start.trace_id,),
        began_ns=(start.start_ns,),
        weighted=chosen.weighted,
        methods=frozenset({start.method}),
    )

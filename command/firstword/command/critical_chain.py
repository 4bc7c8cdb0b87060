"""`firstword critical-chain`: one start as a tree, from the first word back to what it waited for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from firstword.command.reading_report import ReadingReport
from firstword.command.source_options import Reading, TraceOptions, reads_traces, say_weighted
from firstword.command.terminal import BAD_INPUT, fail, say, say_text, styled, tell, tell_json
from firstword.tuning import sessions
from firstword.tuning.chain import ChainEntry, KindTime, chain_of
from firstword.tuning.dispatch import NOTABLE_US, explanation
from firstword.tuning.files import Files
from firstword.tuning.notes import Report, ignore
from firstword.tuning.sampling import WEIGHTED
from firstword.tuning.source_text import SourceText
from firstword.tuning.sources import Query, SourceError
from firstword.tuning.start import Method, RecordedStart, TracedTask, start_of
from firstword.tuning.wording import date, shown

_MOST_ENTRIES = 150
"""Of a trace with thousands of pieces the longest are shown."""
_MOST_KINDS = 6
"""Of one link of an observed chain."""
_ON_PATH = "bold red"
_SPARED = "bright_black"
_ENDS = {
    "first_word": "first word",
    "failed": "failed",
    "abandoned": "abandoned: the caller left",
    "timed_out": "timed out",
    "no_caller": "no caller came",
}
_METHODS = {
    Method.OBSERVED: "Path: observed on the event loop, by line of source",
    Method.GUESSED: "Path: guessed from times, the span that finished last before (last-finishing-child)",
}
_DISPATCHES = {
    "join": "the job came with the caller",
    "ahead": "the job came ahead of the caller",
    "late": "the job came long after the caller",
}


@reads_traces
def command(
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="[SESSION]", help="A trace id or how it begins, a room's sid or a job's id.", show_default=False
        ),
    ] = None,
    slowest: Annotated[bool, typer.Option("--slowest", help="The slowest session in place of the median one.")] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            metavar="DIR",
            help="Where the agent's source is, as it ran. [default: here, what is older than the trace]",
            show_default=False,
        ),
    ] = None,
    *,
    options: TraceOptions,
) -> None:
    """Show what one caller waited for, from the first word back.

    As `systemd-analyze critical-chain` does for a boot. Each line on the left waited for the next. `@` is when it began, `+` how long it
    took, `loop` how long it held the event loop. Below it, in grey, stands what it needed too and did not have to wait for. `slack` is how
    much later that could have ended without delaying the first word.

    Without SESSION the median session by time to first word, the faster of two in the middle. Traces of others are
    shown too; their path is guessed from times, and the output says so.

    Of an observed start each line on the left is a line of the agent's source. Its text stands with it where the file is here or below
    `--source`.

    **Examples**

    `firstword critical-chain`

    `firstword critical-chain RM_tbGdLrz542Ma --jaeger http://localhost:16686`

    `firstword critical-chain --slowest --traces rehearsals/2026-11-23-101500/traces/tuned`
    """
    if session is not None and slowest:
        fail("SESSION and --slowest name two sessions; give one", code=BAD_INPUT)
    if source is not None and not source.is_dir():
        fail(f"--source {source} is no folder; expected the one that the agent's file lies in", code=BAD_INPUT)
    session, options = options.of_session(session)
    read = options.reading()
    try:
        with ReadingReport(read.query) as account:
            chosen = _chosen(read, session, slowest, account.report)
    except (SourceError, sessions.NoSession, OSError) as error:
        fail(str(error))
    start = start_of(chosen.trace)
    if options.as_json:
        tell(f"Traces: {read.source.name}", err=True)
        say_weighted(chosen.weighted, as_json=True)
        tell_json(start.as_json())
        return
    page = read.source.page(start.trace_id)
    for line in (f"Traces: {read.source.name}", f"Shown: {chosen.why}", *((WEIGHTED,) if chosen.weighted else ())):
        say(line)
    since = start.start_ns if source is None else None
    for line in chain_lines(start, page, SourceText(source or Path(), unchanged_since_ns=since)):
        say_text(line)


def _chosen(read: Reading, session: str | None, slowest: bool, report: Report) -> sessions.Chosen:
    if session is not None:
        return sessions.named(read.source, session, read.query, report)
    return (sessions.slowest if slowest else sessions.median)(read.source, read.query, report)


def median_start(folder: Path) -> RecordedStart | None:
    """Returns the start of the median session whose traces lie below `folder`; None where there is none."""
    try:
        return start_of(sessions.median(Files(folder), Query(), ignore).trace)
    except (SourceError, sessions.NoSession):
        return None


def chain_lines(start: RecordedStart, page: str | None = None, sources: SourceText | None = None) -> Iterator[Text]:
    """Yields the summary of a start and its critical chain as lines of styled text.

    page: the address of its trace in Jaeger. sources: reads the text of lines of source.
    """
    yield styled(f"Trace: {start.trace_id}")
    yield styled(f"Date: {date(start.start_ns)}")
    if start.room_sid or start.job_id:
        yield styled(f"Room: {start.room_sid or '-'}, job: {start.job_id or '-'}")
    if page is not None:
        yield styled(f"Jaeger: {page}")
    if start.outcome is not None:
        yield styled(_summary(start))
    if start.flags:
        yield styled(f"Flags on: {_flags_on(start)}")
    if start.phases:
        yield styled("Phases: " + ", ".join(f"{phase.name} {_time(phase.duration_us)}" for phase in start.phases))
    if start.method in _METHODS:
        yield styled(_METHODS[start.method] + (f"; not observed: {start.unobserved}" if start.unobserved else ""))
    yield Text()
    end = _ENDS.get(start.outcome or "", f"end of {start.name}")
    yield styled(f"{end} @{_time(start.duration_us)}", _ON_PATH)
    yield from _tree(start, sources)


def _summary(start: RecordedStart) -> str:
    told = [_ENDS.get(start.outcome or "", start.outcome or "").capitalize()]
    if start.ttfw_s is not None:
        told[0] += f" after {_time(start.ttfw_s * 1e6)}"
    if start.init_s is not None:
        told.append(f"initialization {_time(start.init_s * 1e6)}")
    if start.dispatch in _DISPATCHES:
        told.append(_DISPATCHES[start.dispatch])
    return "; ".join(told)


def _flags_on(start: RecordedStart) -> str:
    on = sorted(name for name, variant in start.flags.items() if variant == "on")
    if len(on) in (0, len(start.flags)):
        return f"{'all' if on else 'none'} of {len(start.flags)}"
    return ", ".join(on)


def _tree(start: RecordedStart, sources: SourceText | None) -> Iterator[Text]:
    entries = chain_of(start)
    longest = set(sorted(range(len(entries)), key=lambda i: -entries[i].duration_us)[:_MOST_ENTRIES])
    for alone, run in groupby(range(len(entries)), key=longest.__contains__):
        together = [entries[i] for i in run]
        if not alone:
            took = sum(entry.duration_us for entry in together)
            yield styled(f"┊ {len(together)} shorter ones +{_time(took)}", _ON_PATH)
            continue
        for entry in together:
            last = entry is entries[-1]
            below = "    " if last else "│   "
            yield styled(("└─" if last else "├─") + _entry(entry), _ON_PATH)
            for text in _below(entry, sources):
                yield Text.assemble((below, _ON_PATH), (shown(text), _SPARED))


def _entry(entry: ChainEntry) -> str:
    kind = f", {_kind(entry.kinds[0])}" if len(entry.kinds) == 1 and entry.kinds[0].kind != entry.name else ""
    held_by = f", held by {entry.held_by}" if entry.held_by else ""
    when = _when(entry.start_us, entry.duration_us)
    return f"{entry.source or entry.name}{when}{kind}{held_by}{_notes(entry.task)}"


def _below(entry: ChainEntry, sources: SourceText | None) -> Iterator[str]:
    """What is said of an entry in grey: the line's text, its kinds where there are several, and what was spared."""
    if sources is not None and entry.source is not None and (text := sources.of(entry.source)):
        yield text
    if entry.source is None and entry.duration_us >= NOTABLE_US and (why := explanation(entry.name, entry.duration_us)):
        yield why
    if len(entry.kinds) > 1:
        longest, others = entry.kinds[:_MOST_KINDS], entry.kinds[_MOST_KINDS:]
        told = [
            f"{_kind(of)} {_time(of.duration_us)}" + (f" held by {of.held_by}" if of.held_by else "") for of in longest
        ]
        if others:
            told.append(f"{len(others)} others {_time(sum(of.duration_us for of in others))}")
        yield ", ".join(told)
    for task in entry.spared:
        slack = "" if task.slack is None else f", slack {_time(task.slack * 1e6)}"
        yield f"{task.name}{_when(task.start_us, task.duration_us)}{slack}{_notes(task)}"


def _kind(of: KindTime) -> str:
    return f"{of.kind} in {of.inside}" if of.inside else of.kind


def _when(start_us: int, duration_us: int) -> str:
    return f" @{_time(start_us)} +{_time(duration_us)}"


def _notes(task: TracedTask | None) -> str:
    if task is None:
        return ""
    loop = "" if task.loop_time is None else f", loop {_time(task.loop_time * 1e6)}"
    return loop + (f", {task.error_type}" if task.error_type else "")


def _time(us: float) -> str:
    """As systemd-analyze writes a time, with three figures: 1.234s, 56ms, 7.8ms."""
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    if us >= 1e4 or not us:
        return f"{us / 1e3:.0f}ms"
    return f"{us / 1e3:.1f}ms" if us >= 100 else f"{us / 1e3:.2f}ms"

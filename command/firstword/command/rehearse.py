"""`firstword rehearse`: hands what was typed to `firstword.rehearsal.rehearse`, shows how it goes, and prints what it found."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console, Group
from rich.table import Table

from firstword.agent.flags.flag_file import FlagFileError, read
from firstword.agent.flags.improvements import SUBJECTS, UnknownFlag, profile
from firstword.command.completion import profile_names
from firstword.command.critical_chain import chain_lines, median_start
from firstword.command.environment import load_environment
from firstword.command.output_folder import output_folder
from firstword.command.progress import progress
from firstword.command.terminal import BAD_INPUT, INTERRUPTED, console, fail
from firstword.rehearsal.agent_file import BadAgent, read_source
from firstword.rehearsal.environment import Choice, choose
from firstword.rehearsal.processes import ServerError
from firstword.rehearsal.providers.latency import Latencies, LatencyError
from firstword.rehearsal.rehearse import Rehearsal, rehearse
from firstword.rehearsal.result import LOGS, RESULT_FILE, TRACES, ProfileFigures, Quantiles, Result, save
from firstword.rehearsal.workers import FLOOR
from firstword.telemetry.record import Dispatch
from firstword.tuning.start import RecordedStart
from firstword.tuning.svg import html
from firstword.tuning.waterfall import waterfall
from firstword.tuning.wording import agree, amount

PICTURES = "pictures"
"""Folder, in that of a rehearsal, that has the median session of each profile as an HTML page."""
_SHOWN_ERRORS = 3


def command(
    profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            autocompletion=profile_names,
            help="`baseline`, `tuned`, or flags by name with commas; repeatable. Without it and --flags: baseline and tuned.",
        ),
    ] = None,
    flags: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A flag file; a worker named `flags` follows it, instead of a profile. Its jobs name no account, so that "
            "each session is a draw of its own.",
        ),
    ] = None,
    agent: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file of another agent; a worker named `agent` runs it, as `firstword audit` does."
        ),
    ] = None,
    dispatch: Annotated[
        Literal["join", "ahead"], typer.Option(help="The job comes with the caller, or ahead of them.")
    ] = "join",
    ahead_by: Annotated[float, typer.Option(min=0, metavar="S", help="With `ahead`: by how many seconds.")] = 3.0,
    sessions: Annotated[int, typer.Option(min=1, metavar="N", help="Of each profile.")] = 20,
    concurrency: Annotated[int, typer.Option(min=1, metavar="C", help="Callers at once, all of one profile.")] = 1,
    rate: Annotated[float | None, typer.Option(metavar="R", help="At most so many sessions a second.")] = None,
    providers: Annotated[
        Path | None, typer.Option(metavar="FILE", resolve_path=True, help="Latency model of the simulated providers.")
    ] = None,
    strangers: Annotated[
        bool, typer.Option("--strangers", help="Every caller calls for the first time: nothing of theirs is cached.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A new or empty folder. [default: rehearsals/DATE-TIME]")
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="Real providers, with the keys and addresses set here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")] = False,
) -> None:
    """Call the worker with synthetic callers and compare profiles, side by side in one run.

    A real LiveKit server, real workers and real clients run on this machine. Only the providers are simulated, and no key is used unless
    `--real` is given. Beside the profiles runs `floor`: the least that LiveKit allows, the yardstick.

    What a caller heard, and when, is measured at the caller's ear; time to first word (TTFW) and initialization come
    from the sessions' traces. An error is infinitely late. Exit code 1 when a caller heard nothing.

    **Examples**

    `firstword rehearse --sessions 5`

    `firstword rehearse --profile baseline --profile parallel-init,deferred-setup`

    `firstword rehearse --flags flags.json --sessions 50`

    `firstword rehearse --dispatch ahead --ahead-by 3 --concurrency 4`
    """
    names = _profiles(profiles or ([] if flags else ["baseline", "tuned"]))
    _check_flags(flags)
    _check_agent(agent)
    if rate is not None and not 0 < rate < math.inf:
        fail(f"--rate is {rate:g}; expected a number of sessions a second, more than 0", code=BAD_INPUT)
    if strangers and real:
        fail("--strangers needs accounts made for the rehearsal, and --real uses the store you have", code=BAD_INPUT)
    if not math.isfinite(ahead_by):
        fail(f"--ahead-by is {ahead_by:g}; expected seconds, 0 or more", code=BAD_INPUT)
    try:
        Latencies.load(providers)
    except LatencyError as error:
        fail(f"--providers {error}", code=BAD_INPUT)
    plan = Rehearsal(
        names,
        sessions,
        Dispatch(dispatch),
        ahead_by,
        concurrency,
        rate,
        flags=flags,
        strangers=strangers,
        agent=agent and agent.resolve(),
    )
    folder = output_folder(output, below=Path("rehearsals"))
    try:
        choice = asyncio.run(choose(load_environment(), real=real, latencies=providers))
        # With --json standard output is the JSON alone.
        typer.echo(choice.sentence, err=as_json)
        result = _run(plan, choice, folder)
    except ServerError as error:
        fail(str(error))
    except KeyboardInterrupt:  # a second Ctrl-C: nobody waits for the figures
        raise typer.Exit(INTERRUPTED) from None
    save(result, folder)
    medians = {name: start for name in result.profiles if (start := median_start(folder / TRACES / name)) is not None}
    pictures = _drawn(medians, folder / PICTURES)
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2))
    else:
        _print(result, medians, pictures, folder, console())
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
    if result.unheard:
        raise typer.Exit(1)


def _profiles(names: Sequence[str]) -> tuple[str, ...]:
    """The profiles to rehearse, each once; the floor always runs and need not be named."""
    for name in names:
        try:
            if name != FLOOR:
                profile(name)
        except UnknownFlag as error:
            fail(f"--profile: {error}", code=BAD_INPUT)
    return tuple(dict.fromkeys(name for name in names if name != FLOOR))


def _check_flags(file: Path | None) -> None:
    """A worker would start with a broken flag too, off, and prove nothing of it."""
    if file is None:
        return
    try:
        bad = read(file, SUBJECTS).bad
    except FlagFileError as error:
        fail(f"--flags {error}", code=BAD_INPUT)
    for name, why in bad.items():
        fail(f"--flags {file}: {name}: {why}", code=BAD_INPUT)


def _check_agent(file: Path | None) -> None:
    """What is wrong with a file is said before anything starts."""
    try:
        if file is not None:
            read_source(file)
    except BadAgent as error:
        fail(f"--agent {error}", code=BAD_INPUT)


def _run(plan: Rehearsal, choice: Choice, folder: Path) -> Result:
    with progress(console(stderr=True)) as report:
        return asyncio.run(rehearse(plan, choice, folder, report=report))


def _drawn(medians: Mapping[str, RecordedStart], folder: Path) -> list[Path]:
    """Draws each profile's median session into `folder`, as `firstword plot` does; the pictures' files."""
    files: list[Path] = []
    for name, start in medians.items():
        folder.mkdir(exist_ok=True)
        files.append(folder / f"{name}.html")
        files[-1].write_text(html(waterfall(start)), encoding="utf-8")
    return files


def _print(
    result: Result, medians: Mapping[str, RecordedStart], pictures: Sequence[Path], folder: Path, out: Console
) -> None:
    for table in _tables(result):
        out.print()
        out.print(table)
    out.print()
    for line in _remarks(result):
        out.print(line, style="bold red", soft_wrap=True)
    for name, start in medians.items():
        out.print(f"What the caller of a median session of {name} waited for:", style="bold", soft_wrap=True)
        out.print(Group(*chain_lines(start)))
        out.print()
    for picture in pictures:
        out.print(f"Picture of that session, for a browser: {picture}", soft_wrap=True)
    out.print(f"Traces, a folder for each profile: {folder / TRACES}", soft_wrap=True)
    out.print(f"Figures: {folder / RESULT_FILE}", soft_wrap=True)
    if result.unheard:
        out.print(f"What the workers say: {folder / LOGS}", soft_wrap=True)


def _tables(result: Result) -> Generator[Table]:
    """One table for each measure, a row for each profile: they fit sixty columns and cut no text.

    What was missed of greetings has one only where something was; its figures are the most that one caller missed.
    """
    floor = result.profiles[FLOOR].heard_s
    traced = {name: figures for name, figures in result.profiles.items() if name != FLOOR}
    quantiles = ("p50", "p90", "p99")
    for title, of in (("Time to first word, s", _ttfw), ("Initialization, s", _init)):
        table = _table(title, quantiles)
        for name, figures in traced.items():
            table.add_row(name, *_seconds(of(figures)))
        yield table
    table = _table("Heard by the caller, s (x the floor)", quantiles)
    for name, figures in result.profiles.items():
        table.add_row(name, *_seconds(figures.heard_s, floor if name != FLOOR else None))
    yield table
    if any(figures.missed and figures.missed.callers for figures in result.profiles.values()):
        table = _table("Greeting missed, ms", ("beginning", "middle", "end"))
        for name, figures in result.profiles.items():
            if (missed := figures.missed) is not None and missed.callers:
                worst = (missed.beginning_ms, missed.middle_ms, missed.end_ms)
                table.add_row(f"{name}, {missed.callers} of {figures.sessions}", *(str(ms) for ms in worst))
        yield table
    table = _table("Count", ("sessions", "errors", "fallbacks"))
    for name, figures in result.profiles.items():
        table.add_row(name, str(figures.sessions), str(figures.errors), str(figures.fallbacks))
    yield table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(title, width=22, overflow="fold")
    for heading in headings:
        table.add_column(heading, min_width=11, justify="right", no_wrap=True, vertical="bottom")
    return table


def _ttfw(figures: ProfileFigures) -> Quantiles | None:
    return figures.ttfw_s


def _init(figures: ProfileFigures) -> Quantiles | None:
    return figures.init_s


def _seconds(values: Quantiles | None, floor: Quantiles | None = None) -> list[str]:
    """The cells of p50, p90, p99, each with its ratio to the floor's, if there is one."""
    if values is None:
        return ["-"] * 3
    cells: list[str] = []
    for name in ("p50", "p90", "p99"):
        seconds: float = getattr(values, name)
        yardstick: float = getattr(floor, name) if floor else math.inf
        ratio = f" x{seconds / yardstick:.1f}" if math.isfinite(seconds) and math.isfinite(yardstick) else ""
        cells.append(f"{seconds:.2f}{ratio}" if math.isfinite(seconds) else "never")
    return cells


def _remarks(result: Result) -> Generator[str]:
    """What the figures do not say: what went wrong."""
    if result.interrupted:
        yield f"Interrupted; sessions that had ended by then: {len(result.sessions)}."
    unheard = [session for session in result.sessions if session.heard_s is None]
    for session in unheard[:_SHOWN_ERRORS]:
        yield f"A caller of {session.profile} heard nothing: {session.error} (room {session.room})"
    if len(unheard) > _SHOWN_ERRORS:
        yield f"... and {len(unheard) - _SHOWN_ERRORS} more callers"
    for name, figures in result.profiles.items():
        if figures.untraced:
            yield f"{figures.untraced} of {amount(figures.sessions, 'session')} of {name} left no trace, and {agree(figures.untraced, 'counts', 'count')} in no figure of it."

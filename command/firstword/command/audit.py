"""`firstword audit`: hands what was typed to `firstword.rehearsal.audit`, shows how it goes, and prints what was found."""

from __future__ import annotations

import asyncio
import math
import shutil
import statistics
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from firstword.command.critical_chain import chain_lines
from firstword.command.observed import Json
from firstword.command.progress import progress
from firstword.command.terminal import BAD_INPUT, INTERRUPTED, console, fail, say, say_text, tell, tell_json
from firstword.rehearsal.agent_file import BadAgent, read_source
from firstword.rehearsal.audit import Audit, audit
from firstword.rehearsal.processes import ServerError
from firstword.rehearsal.providers.latency import Latencies, LatencyError
from firstword.rehearsal.result import new_folder
from firstword.telemetry.record import Dispatch
from firstword.tuning.audit.facts import AuditRun

LONGEST_CALL_S = 45
"""A caller of an audit waits 20 s for a greeting and as long for an answer, and hangs up."""


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The Python file of a LiveKit agent, as it is.")],
    python: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="The agent's Python, as `.venv/bin/python`. [default: the one that runs firstword]"
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="In which the agent runs. [default: the file's folder]")
    ] = None,
    sessions: Annotated[
        int, typer.Option(min=1, metavar="N", help="Calls of the agent, and as many of the floor.")
    ] = 5,
    dispatch: Annotated[
        Literal["join", "ahead"], typer.Option(help="The job comes with the caller, or ahead of them.")
    ] = "join",
    ahead_by: Annotated[float, typer.Option(min=0, metavar="S", help="With `ahead`: by how many seconds.")] = 3.0,
    metadata: Annotated[str, typer.Option(metavar="TEXT", help="The job's metadata.")] = "",
    providers: Annotated[
        Path | None, typer.Option(metavar="FILE", resolve_path=True, help="Latency model of the simulated providers.")
    ] = None,
    real: Annotated[
        bool, typer.Option("--real", help="Real providers, with the agent's own keys and addresses.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A new or empty folder. [default: audits/DATE-TIME]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")] = False,
) -> None:
    """Call any LiveKit agent, and say what its caller waited for, by line of its source.

    The agent's own file is started as LiveKit starts it, unchanged, on a LiveKit server of its own on this machine. Its providers are
    simulated, so no key is used unless `--real` is given. Beside it runs `floor`: the least that LiveKit allows, the yardstick. An agent
    that does not speak first is spoken to; its seconds count from the end of that speech.

    Exit code 1 when the agent is not heard, 2 when its file can't be run.

    **Examples**

    `firstword audit agent.py`

    `firstword audit src/agent.py --python .venv/bin/python --folder .`

    `firstword audit agent.py --json --sessions 10`
    """
    plan = _plan(file, python, folder, sessions, dispatch, ahead_by, metadata, providers, real)
    place = _output(output)
    if real:
        tell(f"Real providers: {sessions} calls of at most {LONGEST_CALL_S} s, with the keys set here.", err=True)
    try:
        with progress(console(stderr=True)) as report:
            run = asyncio.run(audit(plan, place, report=report))
    except BadAgent as error:
        fail(str(error), code=BAD_INPUT)
    except ServerError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        tell_json(_as_json(run))
    else:
        _print(run)
        say(f"Logs and traces: {place}")
    if all(session.heard_s is None for session in run.sessions):
        raise typer.Exit(1)


def _plan(
    file: Path,
    python: str | None,
    folder: Path | None,
    sessions: int,
    dispatch: str,
    ahead_by: float,
    metadata: str,
    providers: Path | None,
    real: bool,
) -> Audit:
    """What was typed, held against what is there; ends the command where something is wrong before anything starts."""
    try:
        read_source(file)
        Latencies.load(providers)
    except BadAgent as error:
        fail(str(error), code=BAD_INPUT)
    except LatencyError as error:
        fail(f"--providers {error}", code=BAD_INPUT)
    if not math.isfinite(ahead_by):
        fail(f"--ahead-by is {ahead_by:g}; expected seconds, 0 or more", code=BAD_INPUT)
    if folder is not None and not folder.is_dir():
        fail(f"--folder {folder} is no folder", code=BAD_INPUT)
    program = sys.executable if python is None else shutil.which(python)
    if program is None:
        fail(f"--python {python} can't be run; expected a Python, as .venv/bin/python", code=BAD_INPUT)
    # not resolved: the Python of a virtual environment is a link, and the environment is where the link is
    return Audit(
        file.resolve(),
        Path(program).absolute(),
        (folder or file.parent).resolve(),
        sessions,
        Dispatch(dispatch),
        ahead_by,
        metadata,
        real,
        providers,
    )


def _output(output: Path | None) -> Path:
    """The folder of this audit, made and empty."""
    try:
        if output is None:
            return new_folder(Path("audits"))
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            fail(f"--output {output} is not empty; expected a new or empty folder", code=BAD_INPUT)
    except OSError as error:
        fail(f"{output or Path('audits')} can't be made or read: {error.strerror}", code=BAD_INPUT)
    return output


def _as_json(run: AuditRun) -> Json:
    return {
        "heard_s": [session.heard_s for session in run.sessions],
        "floor_s": list(run.floor_s),
        "first_voice": [session.first_voice.value for session in run.sessions],
    }


def _print(run: AuditRun) -> None:
    heard = sorted(session.heard_s for session in run.sessions if session.heard_s is not None)
    floor = sorted(seconds for seconds in run.floor_s if seconds is not None)
    for session in run.sessions:
        if session.silence:
            say(session.silence, "bold red")
    if heard and floor:
        middle, least = statistics.median_low(heard), statistics.median_low(floor)
        say(f"Heard after {middle:.2f} s (median), x{middle / least:.1f} the floor of {least:.2f} s")
    starts = sorted((s.start for s in run.sessions if s.start and s.start.ttfw_s), key=lambda start: start.ttfw_s or 0)
    if starts:
        for line in chain_lines(starts[(len(starts) - 1) // 2]):
            say_text(line)

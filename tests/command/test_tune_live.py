"""The tuner as a service on a real Jaeger, disturbed in four ways: nothing moves wrongly."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from benchmarks.door import Door
from benchmarks.tune_live import BAD, GOOD, FollowedFile, Live, Options, perform, shares_of, two_flags
from firstword.rehearsal.result import Session
from firstword.rehearsal.stack import LocalStack
from tests.command.sessions_written import export_request
from tests.tuning.sessions_drawn import World, draw

pytestmark = [pytest.mark.real, pytest.mark.jaeger, pytest.mark.soak]
AT_ONCE = 40
"""Sessions a second that nobody calls."""


async def test_flags_move_rightly_under_calls(tmp_path: Path) -> None:
    """A good flag goes to 100 % and a slow one back, on two real workers that real callers call.

    It takes 1,300 calls, and so half an hour on two cores: with two steps. `perform` raises where a flag moved otherwise.
    """
    options = Options(tmp_path, steps=(50, 100), minutes=110.0, concurrency=2, executor="process", every_s=5.0)
    assert len(await perform(options)) == 2 + 2 + 2


async def test_flags_move_rightly_by_all_steps(tmp_path: Path) -> None:
    """From 5 % on, as by default. It takes thousands of sessions, and so they are generated: by the shares that the file has.

    It takes minutes: at each step the sessions of ten seconds count for nothing.
    """
    options = Options(tmp_path, steps=(5, 25, 50, 100), minutes=60.0, concurrency=1, executor="", every_s=5.0)
    assert len(await perform(options, run=generated)) == 2 + 4 + 2


@asynccontextmanager
async def generated(options: Options, say: Callable[[str], None]) -> AsyncGenerator[Live]:
    """Collector and Jaeger, to which sessions are sent; no worker."""
    flags = options.folder / "flags.json"
    two_flags(flags)
    async with (
        LocalStack(options.folder / "servers", jaeger=True) as stack,
        Door.to(str(stack.jaeger_url)) as door,
    ):
        file = FollowedFile(flags, sessions := list[Session](), say)
        tasks = [
            asyncio.create_task(send(f"{stack.otlp_http_endpoint}/v1/traces", flags, sessions)),
            asyncio.create_task(file.follow()),
        ]
        try:
            yield Live(options, stack, door, file, [], tasks, say, time.monotonic() + 60 * options.minutes)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def send(url: str, flags: Path, sessions: list[Session]) -> None:
    """So many sessions a second, until it is cancelled. The good flag makes them a sixth faster, the bad one half as slow again."""
    noise, chance = np.random.default_rng(1), random.Random(1)
    async with aiohttp.ClientSession() as http:
        while True:
            shares, spans = shares_of(flags), list[object]()
            for _ in range(AT_ONCE):
                on = {flag: chance.random() * 100 < percent for flag, percent in shares.items()}
                world = World((0.83 if on[GOOD] else 1.0) * (1.5 if on[BAD] else 1.0), errors=0, leaving=0)
                variants = {flag: "on" if is_on else "off" for flag, is_on in on.items()}
                session = draw(noise, variants, world, time.time())
                sessions.append(Session("flags", "", "", session.ttfw, None))
                spans += export_request(len(sessions), session)["resourceSpans"]
            async with http.post(url, json={"resourceSpans": spans}) as answer:
                assert answer.status == 200, await answer.text()
            await asyncio.sleep(1)

"""What libraries trace becomes part of the task it ran in, so that a critical piece explains itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.redis import redis_url as redis_url

PROGRAM = """
import asyncio, sys
from pathlib import Path
import aiohttp, httpx2
from aiohttp import web
from redis.asyncio import Redis
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from livekit.agents.voice.room_io import RoomIO
from firstword.agent.accounts.sql_store import SQLStore
from firstword.telemetry import libraries
from firstword.telemetry.export import Exporting
from firstword.telemetry.plan import Plan
from firstword.telemetry.run import Run
from firstword.telemetry.spans import StartTrace
from firstword.telemetry.vocabulary import GREET

async def _init_task(room_io):
    await asyncio.sleep(0)

RoomIO._init_task = _init_task
memory = InMemorySpanExporter()
exporting = Exporting([memory])
libraries.switch_on(exporting.inside)
libraries.switch_on(exporting.inside)
plan = Plan("session.startup", given=("url", "store", "redis"), phases=(GREET,))

@plan.task()
async def stt(url):
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(url + "?token=sk-1") as answer:
                await answer.read()

@plan.task()
async def llm(url):
    async with httpx2.AsyncClient() as client:
        await client.get(url)

@plan.task()
async def account(store):
    await store.account("caller-of-the-test")

@plan.task()
async def cache(redis):
    await redis.get("greeting:caller-of-the-test")

@plan.task()
async def voice():
    await asyncio.create_task(RoomIO._init_task(None))
    asyncio.create_task(asyncio.Event().wait()).cancel()  # before its first step: no reason for a warning

@plan.task()
async def tts(url):  # as inside of LiveKit's session: its own span is the current one
    livekit = exporting.outside.get_tracer("livekit")
    async with aiohttp.ClientSession() as session:
        with livekit.start_as_current_span("agent_session"):
            async with session.get(url) as answer:
                await answer.read()

@plan.first_word
async def playout(stt, llm, account, cache, voice, tts): ...

plan.check()

async def main():
    async def answer(_):
        return web.Response(text="ok")
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    store = await SQLStore.open(f"sqlite+aiosqlite:///{sys.argv[1]}/accounts.db")
    redis = Redis.from_url(sys.argv[2])
    given = {"url": f"http://localhost:{port}/", "store": store, "redis": redis}
    run = Run(plan.shape({}), given=given, trace=StartTrace(exporting))
    await run.perform()
    await redis.aclose()
    await store.account("1002")  # after the start: not part of it
    await store.aclose()
    await runner.cleanup()
    exporting.flush(5)
    spans = {s.context.span_id: s for s in memory.get_finished_spans()}
    (root,) = [s for s in spans.values() if s.name == "session.startup"]
    for s in spans.values():
        if s.instrumentation_scope.name != "firstword.telemetry" and s.context.trace_id == root.context.trace_id:
            print(spans[s.parent.span_id].name, ">", s.name, "|", " ".join(str(dict(s.attributes or {}).get("db.statement", "")).split()))
    said = [text for s in spans.values() for text in (s.name, str(dict(s.attributes)), str([e.attributes for e in s.events]))]
    print([text for text in said if "sk-1" in text or "caller-of" in text])

asyncio.run(main())
"""


def test_libraries_explain_the_task_they_ran_in(tmp_path: Path, redis_url: str) -> None:
    """Requests, names resolved, connections, statements, commands and LiveKit's coroutines, each under its task; no key, no value, nothing after the start.

    In a process of its own, since instrumentation cannot be taken back whole.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), redis_url],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    *lines, leaked = done.stdout.splitlines()
    seen = [line.partition(" |")[0] for line in lines]
    assert seen.count("stt > GET") == 2
    assert seen.count("GET > connect") == 2  # of stt, whose second request reuses the connection, and of tts
    assert seen.count("GET > dns") == 2
    assert "llm > GET" in seen
    assert "cache > GET" in seen
    assert any(line.startswith("account > SELECT") and "WHERE" in line for line in lines), done.stdout
    assert "voice > _init_task" in seen
    assert "tts > GET" in seen
    assert not any("agent_session" in line for line in seen)
    assert leaked == "[]"
    assert not done.stderr

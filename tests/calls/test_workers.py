"""Workers that are set up in another way: dispatched to any room, jobs as threads, any flags, flags by file, the LLM's greeting."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

import pytest
from aiohttp import web
from livekit import api

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import Account
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.flags.improvements import Improvement
from firstword.agent.flags.location import shipped_file
from firstword.agent.greeting.text import greeting_text
from firstword.rehearsal.processes import ServerFailed
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.server import application
from firstword.telemetry.vocabulary import FLAGS_BY
from tests.calls.sent import whole
from tests.calls.spoken import speech
from tests.calls.waiting import PATIENCE, until
from tests.calls.workers import CallServers, WorkerUnderTest

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

ADA = ACCOUNTS[0]


@pytest.mark.soak
async def test_the_llm_writes_the_greeting(servers: CallServers) -> None:
    """During one call what is said in the next. While the caller waits it is written on virtual time (tests/agent)."""
    written = "You said: Write the"
    async with servers.worker("tuned", {"FIRSTWORD_GREETING_WRITER": "llm"}) as later:
        stranger = await later.stranger(greeting="Hello, {name}.")  # at any hour
        template = greeting_text(stranger, time.time()).text
        assert written not in await _said_to(later, stranger, template, keeping=True)
        await _said_to(later, stranger, written)


async def _said_to(worker: WorkerUnderTest, account: Account, text: str, *, keeping: bool = False) -> str:
    """What a caller of that account hears, until it holds this text; keeping: until what is said next time is kept, too."""
    caller = worker.caller(account=account.id)
    await caller.connect()
    await caller.reads(text)
    if keeping:
        await until(lambda: "deferred.next_greeting" in [span.name for span in worker.spans])
    await caller.leave()
    await worker.rests()
    return " ".join(caller.texts)


async def test_automatic_dispatch_and_drain(servers: CallServers) -> None:
    """Without an agent name any caller's room gets the agent; at SIGTERM the call goes on, no other begins, the worker ends well."""
    async with servers.worker("tuned", name="") as worker:
        room = worker.room()
        caller = servers.caller(room)
        await caller.connect()
        await caller.hear(PATIENCE)
        os.kill(worker.pid, signal.SIGTERM)
        await until(lambda: _logged(worker, "draining worker") == 1)
        another = servers.caller(worker.room())
        await another.connect()
        await worker.says(caller, whole(speech("Hello! How can I help you today?")))
        sid = await caller.room.sid
        assert not another.room.remote_participants
        await asyncio.gather(caller.leave(), another.leave())
        await servers.rooms.room.delete_room(api.DeleteRoomRequest(room=room))
        with pytest.raises(ServerFailed, match=r"exit code 0"):
            async with asyncio.timeout(PATIENCE):
                await worker.running.ended()
        start = await worker.trace(sid)
        assert start.outcome == "first_word"
        assert start["deferred.analytics"]
        assert _logged(worker, "received job request") == 1


def _logged(worker: WorkerUnderTest, message: str) -> int:
    return [line["message"] for line in worker.log].count(message)


async def test_jobs_as_threads(servers: CallServers) -> None:
    """With threads for jobs callers at once are each heard and spoken to in their own language, voice and name, with a whole trace of their own."""
    accounts = [replace(account, id=f"30{account.id}", name=f"{account.name} the Elder") for account in ACCOUNTS[:3]]
    environment = {"FIRSTWORD_EXECUTOR": "thread", "FIRSTWORD_IDLE_PROCESSES": "3"}
    async with (
        _listening_providers() as (requests, address),
        servers.worker("tuned", {**environment, "DEEPGRAM_BASE_URL": address}) as worker,
    ):
        store = await SQLStore.open(f"sqlite+aiosqlite:///{worker.folder / 'accounts.db'}")
        for account in accounts:  # nobody has greeted them ahead
            await store.save(account)
        await store.aclose()
        callers = [worker.caller(account=account.id) for account in accounts]
        await asyncio.gather(*(caller.connect() for caller in callers))
        await asyncio.gather(*(caller.hear(PATIENCE) for caller in callers))
        await asyncio.gather(*(c.reads(a.name) for c, a in zip(callers, accounts, strict=True)))
        sids = [await caller.room.sid for caller in callers]
        await until(lambda: [span.name for span in worker.spans].count("deferred.analytics") == len(callers))
        await asyncio.gather(*(caller.leave() for caller in callers))
        starts = [await worker.trace(sid) for sid in sids]
    for caller, account in zip(callers, accounts, strict=True):
        assert not [text for text in caller.texts for other in accounts if other != account and other.name in text]
        spoken = {query["model"] for path, query, text in requests if path == "/v1/speak" and account.name in text}
        assert spoken == {account.voice}
    heard = Counter(query["language"] for path, query, _ in requests if path == "/v1/listen")
    assert heard == Counter(account.language for account in accounts)
    assert {start.outcome for start in starts} == {"first_word"}
    assert (
        len({start.root.trace_id for start in starts})
        == len({tuple(start.root.edges) for start in starts})
        == len(starts)
    )
    for start in starts:
        assert "deferred.analytics" in start.names


Request = tuple[str, Mapping[str, str], str]
"""Path, query and body."""


@contextlib.asynccontextmanager
async def _listening_providers() -> AsyncGenerator[tuple[list[Request], str]]:
    """STT and TTS in this process: every request they get from now on, and their address."""
    requests: list[Request] = []

    async def note(request: web.BaseRequest, _: web.StreamResponse) -> None:
        body = await request.text() if request.method == "POST" else ""
        requests.append((request.path, dict(request.query), body))

    providers = application(Latencies.load())
    providers.on_response_prepare.append(note)
    runner = web.AppRunner(providers)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield requests, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def test_flags_by_file(servers: CallServers) -> None:
    """Without a profile a running worker follows its flag file; each session's trace says what was drawn, and why.

    With any of the improvements on, a caller is greeted by name, and not by what is shipped.
    """
    file = servers.folder / "flags.json"
    flags = json.loads(shipped_file().read_text())

    def write(chosen: set[Improvement]) -> None:
        for flag, rule in flags["flags"].items():
            rule["defaultVariant"] = "on" if flag in chosen else "off"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(flags))
        new.replace(file)

    drawn = random.Random(1)
    some = {flag for flag in Improvement if drawn.random() < 0.5}
    write(set())
    environment = {"FIRSTWORD_PROFILE": "", "FLAGD_OFFLINE_FLAG_SOURCE_PATH": str(file)}
    async with servers.worker("by-file", environment) as worker:
        assert await _drawn(worker) == set()
        write(some)
        found = None
        for _ in range(6):  # the keeper looks once a second; an idle process has drawn what acts before a session
            if (found := await _drawn(worker)) == some:
                break
        assert found == some


async def _drawn(worker: WorkerUnderTest) -> set[Improvement]:
    """What is on in one more session: by the attributes of its root, each flag with an event."""
    start = await worker.greets(ADA, whole=False)
    assert start.outcome == "first_word"
    assert "greeting.shipped" not in start.root.events
    assert start.root.events.count("feature_flag.evaluation") == len(Improvement)
    assert start.root.attributes[FLAGS_BY] == "account"
    return {flag for flag in Improvement if start.root.attributes[f"startup.flag.{flag}"] == "on"}

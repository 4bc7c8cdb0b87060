"""The session of the real worker, as real LiveKit clients hear it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web
from livekit import api

from agent.accounts.examples import ACCOUNTS
from agent.accounts.model import Account
from agent.accounts.store import AccountStore
from agent.flag_source import shipped_file
from agent.flags import PER_PROCESS, Improvement
from agent.greeting_text import greeting_text
from agent.splice import Samples, clicks, largest_gap
from rehearsal.callers import AUDIBLE, EAR_RATE
from rehearsal.privacy import PHONE, private_in
from rehearsal.processes import ServerFailed
from rehearsal.providers import voice
from rehearsal.providers.latency import Latencies
from rehearsal.providers.server import application
from telemetry.libraries import COROUTINES
from telemetry.spans import MOST_SPANS, MOST_SPANS_IN_ORDER
from telemetry.vocabulary import DRAWN_BY
from tests.agent.stage import PATIENCE, VOICE_TRACK, Actor, Stage, Traced, until

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

SPEECH = Path(__file__).parents[2] / "agent" / "sounds" / "hello.wav"
ADA = ACCOUNTS[0]

PHASES = ["connect", "wait", "greet"]
BASELINE = [
    "room",
    "caller",
    "participant",
    "account",
    "config",
    "components",
    "assistant",
    "room_options",
    "session",
    "event_handlers",
    "background_audio",
    "resumption",
    "analytics",
    "metrics",
    "greeting",
    "playout",
]
LATE = {"event_handlers", "background_audio", "resumption", "analytics", "metrics"}
TUNED_LATE = {"session", "upgrade", "greeting_cache", "next_greeting", *LATE}


async def _greeted(actor: Actor, *, whole: bool = True) -> Traced:
    """The trace of a caller who was greeted by name and left."""
    caller = actor.caller(account=ADA.id)
    await caller.connect()
    try:
        await caller.hear(PATIENCE)
        await caller.reads(ADA.name, PATIENCE)
        sid = await caller.room.sid
    finally:
        await caller.leave()
    return await actor.trace(sid, whole=whole)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def greeted(tuned: Actor) -> Traced:
    """The trace of a tuned session from its start to the end of its process."""
    return await _greeted(tuned)


def _tasks(start: Traced) -> list[str]:
    return [name for name in start.names if name in BASELINE]


def _phases(start: Traced) -> list[str]:
    """Those spans right under the root; aiohttp's `connect` lies deeper."""
    below = sorted((span for span in start.spans if span.parent_id == start.root.span_id), key=lambda span: span.begin)
    return [span.name for span in below if span.name in PHASES]


async def test_baseline_greets(baseline: Actor) -> None:
    """With every improvement off a caller hears their account's greeting, after every step of the brief, one by one."""
    start = await _greeted(baseline)
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.dispatch"] == "join"
    assert _tasks(start) == BASELINE
    assert _phases(start) == PHASES
    for one, other in itertools.pairwise(BASELINE):
        assert start[one].end <= start[other].begin, f"{one} and {other} overlap"
    assert start["session.ready"].begin >= start.root.end
    assert start["session.ready"].attributes["startup.init"] > 0
    assert not [name for name in start.names if name.startswith("deferred.")]
    assert len(start.spans) <= MOST_SPANS_IN_ORDER
    # though LiveKit's own span is the current one in there
    explained = {span.name for span in start.spans if span.parent_id == start["session"].span_id}
    assert {"GET", *(f"asyncio coro-{name}" for name in COROUTINES)} <= explained


async def test_tuned_greets(greeted: Traced) -> None:
    """With every improvement on a caller hears their account's greeting; what it doesn't need runs beside it or after it."""
    start = greeted
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.account.result"] == "hit"
    assert set(_tasks(start)) == set(BASELINE) - TUNED_LATE
    assert {name.removeprefix("deferred.") for name in start.names if name.startswith("deferred.")} == TUNED_LATE
    for name in TUNED_LATE:
        assert start[f"deferred.{name}"].begin > start.root.end
    assert _phases(start) == PHASES
    assert start["dispatch"].begin == start.root.begin
    assert len(start.spans) <= MOST_SPANS


async def test_traces_are_whole_and_tell_nothing(tuned: Actor, greeted: Traced) -> None:
    """LiveKit's own trace of the job is exported to its last span, is linked with the start's, and nothing private is in any."""
    (job_trace,) = greeted.root.edges
    job = [span for span in tuned.spans if span.trace_id == job_trace]
    (entry,) = (span for span in job if span.name == "job_entrypoint")
    assert entry.edges[greeted.root.trace_id] == greeted.root.edges[job_trace] == "job"
    assert private_in(tuned.exported, tuned.stage.stack) == []


async def test_the_callers_own_traces_are_linked(tuned: Actor) -> None:
    """Who asks for the agent and who calls may each name a trace, also where only the former names the account."""
    asked, called = secrets.token_hex(16), secrets.token_hex(16)
    metadata = json.dumps({"account": ADA.id, "traceparent": f"00-{asked}-{secrets.token_hex(8)}-01"})
    attributes = {"traceparent": f"00-{called}-{secrets.token_hex(8)}-01"}
    caller = tuned.caller(metadata=metadata, attributes=attributes)
    await caller.connect()
    await caller.hear(PATIENCE)
    sid = await caller.room.sid
    await caller.leave()
    root = (await tuned.trace(sid)).root
    assert root.edges[asked] == root.edges[called] == "caller"
    assert root.trace_id not in (asked, called)


async def test_log_carries_the_trace(tuned: Actor, greeted: Traced) -> None:
    """What a session logs, LiveKit's lines too, names its trace, and none of it is an error."""
    start = greeted
    lines = [line for line in tuned.log if line.get("job_id") == start.root.attributes["lk.job_id"]]
    ours = [line for line in lines if line.get("trace_id") == start.root.trace_id]
    assert any(line["message"].startswith("first word after") for line in ours)
    assert any(line["name"] == "livekit.agents" for line in ours)
    assert not [line["message"] for line in lines if line["level"] == "ERROR" and line["name"] != "livekit"]


async def test_conversation(tuned: Actor) -> None:
    """After the greeting the caller is understood and answered by the full assistant, tools included, again and again.

    Nothing of it leaves the worker in a span: no name or number, nothing said, no instruction, no tool's result.
    """
    attributes = {"sip.phoneNumber": PHONE}
    caller = tuned.caller(account=ADA.id, identity=f"sip_{PHONE}", attributes=attributes)
    await caller.connect()
    sid = await caller.room.sid
    await caller.reads(ADA.name, PATIENCE)
    await caller.say(500, 1)
    await caller.reads("You said: tell me about my account. I have 3 tools.", PATIENCE)
    await caller.say(400, 1)
    await caller.reads("The answer is: ", PATIENCE)
    began = time.time()
    answer = next(text for text in caller.texts if "The answer is" in text)
    assert re.search(r"\d\d:\d\d on [A-Z][a-z]+day", answer)
    await caller.leave()
    (job_trace,) = (await tuned.trace(sid, whole=True)).root.edges
    turns = [span.name for span in tuned.spans if span.trace_id == job_trace]
    assert {"llm_request", "function_tool"} <= set(turns)
    assert private_in(tuned.exported, tuned.stage.stack) == []
    await tuned.worker.at_rest()
    store = await AccountStore.open(f"sqlite+aiosqlite:///{tuned.folder / 'accounts.db'}")
    last = await store.resumption(ADA.id)
    await store.aclose()
    assert last is not None  # what the next session is told
    assert last.ended > began
    assert last.summary.startswith("The caller's last words were: ")


async def _heard(actor: Actor, account: Account) -> tuple[Samples, Traced]:
    """The greeting of an account at the caller's ear, from its first sound to its last, and the start's trace."""
    caller = actor.caller(account=account.id)
    await caller.connect()
    await caller.hear(PATIENCE)
    await caller.silence(0.7, PATIENCE)
    sid = await caller.room.sid
    samples = np.concatenate([frame.samples for frame in caller.heard_on(VOICE_TRACK)])
    await caller.leave()
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
    return samples[loud[0] : loud[-1] + 1], await actor.trace(sid)


@pytest.mark.parametrize("cached", [True, False], ids=["made ahead", "opening and synthesis"])
async def test_the_greeting_is_one_continuous_sound(baseline: Actor, tuned: Actor, cached: bool) -> None:
    """Through the hand-over to the session, and from a cached opening to the personal part: no gap, no click, all of it."""
    account = ADA if cached else await tuned.stranger()
    heard, start = await _heard(tuned, account)
    assert start["greeting"].attributes["startup.cache"] == ("hit" if cached else "miss")
    assert "greeting.shipped" not in start.root.events
    assert largest_gap(heard, EAR_RATE) <= 0.060
    assert not clicks(heard, EAR_RATE).size
    text = greeting_text(account, time.time()).text
    assert len(heard) / EAR_RATE == pytest.approx(voice.duration(text), abs=0.3)


async def test_a_caller_who_speaks_at_once(tuned: Actor) -> None:
    """The first answer is the full assistant's, also when the caller talks into the greeting's first second."""
    caller = tuned.caller(account=ADA.id)
    await caller.connect()
    await caller.hear(PATIENCE)
    await caller.say(500, 1.5)
    await caller.reads("I have 3 tools", PATIENCE)
    await caller.leave()


async def test_interruption(tuned: Actor) -> None:
    """From half a second of the greeting on the caller can interrupt it by speaking."""
    caller = tuned.caller(account=ADA.id)
    await caller.connect()
    await caller.hear(PATIENCE)
    began = time.monotonic()
    await asyncio.sleep(0.5)
    await caller.play(SPEECH)
    await caller.leave()
    assert caller.last_heard() - began < voice.duration(f"Good evening, {ADA.name}! How can I help you today?") - 1


async def test_automatic_dispatch_and_drain(stage: Stage) -> None:
    """Without an agent name any caller's room gets the agent; at SIGTERM the call goes on, no other begins, the worker ends well."""
    async with stage.actor("tuned", name="") as actor:
        room = actor.room()
        caller = stage.caller(room)
        await caller.connect()
        await caller.hear(PATIENCE)
        began = time.monotonic()
        os.kill(actor.pid, signal.SIGTERM)
        await until(lambda: _logged(actor, "draining worker") == 1, PATIENCE)
        another = stage.caller(actor.room())
        await another.connect()
        await caller.silence(0.7, PATIENCE)
        assert caller.last_heard() - began > voice.duration("Hello! How can I help you today?") - 0.5
        sid = await caller.room.sid
        assert not another.room.remote_participants
        await asyncio.gather(caller.leave(), another.leave())
        await stage.rooms.room.delete_room(api.DeleteRoomRequest(room=room))
        with pytest.raises(ServerFailed, match=r"exit code 0"):
            async with asyncio.timeout(PATIENCE):
                await actor.worker.ended()
        start = await actor.trace(sid)
        assert start.outcome == "first_word"
        assert start["deferred.analytics"]
        assert _logged(actor, "received job request") == 1


def _logged(actor: Actor, message: str) -> int:
    return [line["message"] for line in actor.log].count(message)


async def test_flags_in_any_combination(stage: Stage) -> None:
    """Whichever of the improvements are on, a caller is greeted by name, and not by what is shipped."""

    async def greeted(chosen: set[str]) -> None:
        async with stage.actor(",".join(sorted(chosen))) as actor:
            start = await _greeted(actor, whole=False)
        assert start.outcome == "first_word"
        assert {flag for flag in Improvement if start.root.attributes[f"startup.flag.{flag}"] == "on"} == chosen
        assert "greeting.shipped" not in start.root.events

    drawn = random.Random(1)
    async with asyncio.TaskGroup() as workers:  # to start four takes little longer than one
        for _ in range(4):
            workers.create_task(greeted({flag.value for flag in Improvement if drawn.random() < 0.5}))


async def test_jobs_as_threads(stage: Stage) -> None:
    """With threads for jobs callers at once are each heard and spoken to in their own language, voice and name, with a whole trace of their own."""
    accounts = [replace(account, id=f"30{account.id}", name=f"{account.name} the Elder") for account in ACCOUNTS[:3]]
    environment = {"FIRSTWORD_EXECUTOR": "thread", "FIRSTWORD_IDLE_PROCESSES": "3"}
    async with (
        _listening_providers() as (requests, address),
        stage.actor("tuned", {**environment, "DEEPGRAM_BASE_URL": address}) as actor,
    ):
        store = await AccountStore.open(f"sqlite+aiosqlite:///{actor.folder / 'accounts.db'}")
        for account in accounts:  # nobody has greeted them ahead
            await store.save(account)
        await store.aclose()
        callers = [actor.caller(account=account.id) for account in accounts]
        await asyncio.gather(*(caller.connect() for caller in callers))
        await asyncio.gather(*(caller.hear(PATIENCE) for caller in callers))
        await asyncio.gather(*(c.reads(a.name, PATIENCE) for c, a in zip(callers, accounts, strict=True)))
        sids = [await caller.room.sid for caller in callers]
        await asyncio.sleep(1)
        await asyncio.gather(*(caller.leave() for caller in callers))
        starts = [await actor.trace(sid) for sid in sids]
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
        assert {f"deferred.{name}" for name in LATE} <= set(start.names)


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


async def test_flags_by_file(stage: Stage) -> None:
    """Without a profile a running worker follows its flag file; each session's trace says what was drawn, and why."""
    file = stage.folder / "flags.json"
    flags = json.loads(shipped_file().read_text())

    def write(variant: str) -> None:
        for flag in flags["flags"].values():
            flag["defaultVariant"] = variant
        new = file.with_suffix(".new")
        new.write_text(json.dumps(flags))
        new.replace(file)

    write("off")
    environment = {"FIRSTWORD_PROFILE": "", "FLAGD_OFFLINE_FLAG_SOURCE_PATH": str(file)}
    async with stage.actor("by-file", environment) as actor:
        before = after = await _drawn(actor)
        write("on")
        for _ in range(5):  # the keeper looks once a second; a session takes longer than that
            if (after := await _drawn(actor)) != before:
                break
            await actor.worker.at_rest()
    assert set(before.values()) == {"off"}
    assert {after[flag] for flag in set(Improvement) - PER_PROCESS} == {"on"}


async def _drawn(actor: Actor) -> dict[str, str]:
    """The variants of one more session: as attributes of its root, each with an event."""
    caller = actor.caller()
    await caller.connect()
    await caller.hear(PATIENCE)
    sid = await caller.room.sid
    await caller.leave()
    root = (await actor.trace(sid)).root
    assert root.events.count("feature_flag.evaluation") == len(Improvement)
    assert root.attributes[DRAWN_BY] == "room"
    return {flag: root.attributes[f"startup.flag.{flag}"] for flag in Improvement}

"""Attackers are participants: what they say of themselves, press, send and ask for steers nothing and is found nowhere."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from firstword.agent.accounts.claim import signed_claim
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import GENERIC
from firstword.agent.accounts.sql_store import SQLStore
from firstword.rehearsal.privacy import PHONE
from tests.calls.waiting import PATIENCE
from tests.calls.workers import SENT, CallServers, Kind, WorkerUnderTest
from tests.canaries import found

ADA = ACCOUNTS[0]
KEY = secrets.token_hex(32)
KINDS: tuple[Kind, ...] = ("sip", "connector", "standard")
STRANGERS = max(len(KINDS), int(os.environ.get("SOAK_EXAMPLES", "100")))

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(servers: CallServers) -> AsyncGenerator[WorkerUnderTest]:
    """A worker as it is by default, with a key for claims, that also takes a telephone's number."""
    environment = {"FIRSTWORD_ACCOUNT_SOURCES": "claim,caller-id", "FIRSTWORD_CLAIM_KEY": KEY}
    async with servers.worker("tuned", environment) as worker:
        store = await SQLStore.open(worker.store_url.partition("?")[0])
        await store.save(replace(ADA, id=PHONE))
        await store.aclose()
        yield worker


async def events_of(worker: WorkerUnderTest, says: str, room: str, **token: Any) -> list[str]:
    """Events on the trace of a caller who was told so, and not LiveKit's own."""
    caller = worker.caller(room, **token)
    await caller.connect()
    try:
        sid = await caller.room.sid
        await caller.reads(says)
    finally:
        await caller.leave()
    root = (await worker.trace(sid)).root
    return [event for event in root.events if not event.startswith("job.")]


@pytest.mark.parametrize("carrier", [pytest.param("job", marks=pytest.mark.soak), "caller"])
async def test_a_claim_is_greeted_by_name(guarded: WorkerUnderTest, carrier: str) -> None:
    """Whether the job's metadata or a caller who may write their attributes carries it."""
    room = guarded.room()
    claim = signed_claim(ADA.id, room, KEY, now=time.time())
    token: dict[str, Any] = (
        {"metadata": json.dumps({"claim": claim})}
        if carrier == "job"
        else {"attributes": {"firstword.claim": claim}, "may_update": True}
    )
    assert await events_of(guarded, ADA.name, room, **token) == []


@pytest.mark.parametrize(
    "attack",
    ["another room", *(pytest.param(name, marks=pytest.mark.soak) for name in ("metadata", "attribute", "differ"))],
)
async def test_nobody_is_greeted_as_somebody_else(guarded: WorkerUnderTest, attack: str) -> None:
    """What LiveKit's endpoint copies from a browser, another room's claim, and two claims that differ: the generic greeting."""
    room = guarded.room()
    ada, other = (signed_claim(id, room, KEY, now=time.time()) for id in (ADA.id, ACCOUNTS[1].id))
    token: dict[str, Any] = {
        "metadata": {"metadata": json.dumps({"account": ADA.id})},
        "attribute": {"attributes": {"firstword.account": ADA.id}},
        "another room": {"metadata": json.dumps({"claim": signed_claim(ADA.id, "another", KEY, now=time.time())})},
        "differ": {"metadata": json.dumps({"claim": ada}), "attributes": {"firstword.claim": other}},
    }[attack]
    assert "account.rejected" in await events_of(guarded, GENERIC.greeting, room, **token)


async def test_a_caller_id_opens_the_greeting_alone(guarded: WorkerUnderTest) -> None:
    """The name is said; asked about the account, the assistant has none of its tools."""
    attributes = {"sip.phoneNumber": PHONE, "sip.callStatus": "active"}
    caller = guarded.caller(kind="sip", identity="sip_x", attributes=attributes)
    await caller.connect()
    try:
        await caller.reads(ADA.name)
        await caller.silence()
        await caller.say(500, 1)
        await caller.reads("I have 0 tools.")
    finally:
        await caller.leave()


FIELDS = ("identity", "header", "host", "chat", "key", "room")


def filled() -> dict[str, str]:
    """What a stranger fills into each field."""
    return {name: f"Canary{secrets.token_hex(8)}" for name in FIELDS}


async def call_as(kind: Kind, canaries: dict[str, str], worker: WorkerUnderTest) -> None:
    """A stranger calls, types and leaves; another one in the room presses what is no key, and sends."""
    attributes = {
        "sip.callStatus": "active",
        "sip.h.x-customer": canaries["header"],
        "sip.hostname": canaries["host"],
    }
    room = canaries["room"]
    caller = worker.caller(room, kind=kind, identity=canaries["identity"], attributes=attributes)
    other = worker.servers.caller(room, identity=f"other-{canaries['identity']}")
    await caller.connect()
    sid = await caller.room.sid
    await caller.hear(PATIENCE)
    await caller.silence()
    await other.connect()
    await other.room.local_participant.publish_dtmf(code=1, digit=canaries["key"])
    await other.room.local_participant.publish_data(canaries["key"])
    await caller.room.local_participant.send_text(canaries["chat"], topic="lk.chat")
    await caller.reads("You said: ")
    await asyncio.gather(caller.leave(), other.leave())
    await worker.trace(sid, whole=True)


def left_behind(worker: WorkerUnderTest) -> bytes:
    """All that its calls have left: traces, log, and names of files."""
    paths = [path for path in worker.folder.rglob("*") if SENT not in path.parts]  # ours, a file a room
    log = "\n".join(json.dumps(line, ensure_ascii=False) for line in worker.log)
    return worker.exported + log.encode() + "\n".join(map(str, paths)).encode()


async def test_a_stranger_is_found_nowhere(guarded: WorkerUnderTest) -> None:
    """In no trace, log or name of a file: neither a telephone nor who else is in the room."""
    canaries = filled()
    await call_as("sip", canaries, guarded)
    assert found(canaries, left_behind(guarded)) == set()
    assert canaries["key"] not in (guarded.servers.folder / "providers.log").read_text()


@pytest.mark.soak
async def test_without_redaction_a_stranger_is_found(servers: CallServers) -> None:
    """So looking finds what is there; tests/agent/test_canaries_in_calls.py shows it on virtual time."""
    canaries = filled()
    environment = {"FIRSTWORD_CLAIM_KEY": KEY, "FIRSTWORD_REDACTION": "off"}
    async with servers.worker("tuned", environment) as worker:
        await call_as("sip", canaries, worker)
        assert found(canaries, left_behind(worker)) >= {"identity", "header", "host", "room"}


@pytest.mark.soak
async def test_many_strangers_are_found_nowhere(servers: CallServers) -> None:
    """Telephones, connectors and clients, one of each at a time; tests/agent/test_canaries_in_calls.py has all fields."""
    everybody: list[dict[str, str]] = []
    environment = {"FIRSTWORD_CLAIM_KEY": KEY, "FIRSTWORD_IDLE_PROCESSES": str(len(KINDS))}
    async with servers.worker("tuned", environment) as worker:
        for _ in range(0, STRANGERS, len(KINDS)):
            everybody += (new := [filled() for _ in KINDS])
            async with asyncio.timeout(len(KINDS) * PATIENCE):
                await asyncio.gather(
                    *(call_as(kind, filled_in, worker) for kind, filled_in in zip(KINDS, new, strict=True))
                )
        held = left_behind(worker)
    assert len(everybody) >= STRANGERS
    for canaries in everybody:
        assert found(canaries, held) == set()

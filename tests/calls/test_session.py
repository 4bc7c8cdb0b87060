"""The session of the real worker, as real LiveKit clients hear it."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import time

import pytest
import pytest_asyncio

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.rehearsal.privacy import PHONE, private_in
from firstword.telemetry.spans import MOST_SPANS, MOST_SPANS_IN_ORDER
from tests.agent.sound import clicks, largest_gap
from tests.agent.test_startup_plan import BRIEF
from tests.calls.sent import begun
from tests.calls.speaker import SPEECH
from tests.calls.spoken import after_its_opening, in_one_go, in_the_same_part_of_the_day, speech
from tests.calls.traces import Traced
from tests.calls.waiting import PATIENCE, until
from tests.calls.workers import WorkerUnderTest

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

ADA = ACCOUNTS[0]

PHASES = ["dispatch", "connect", "wait", "greet"]
TUNED_LATE = {
    "session",
    "upgrade",
    "greeting_cache",
    "next_greeting",
    "event_handlers",
    "background_audio",
    "resumption",
    "analytics",
    "metrics",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def greeted(tuned: WorkerUnderTest) -> Traced:
    """The trace of a tuned session from its start to the end of its process."""
    return await tuned.greets(ADA)


def _tasks(start: Traced) -> list[str]:
    return [name for name in start.names if name in BRIEF]


def _phases(start: Traced) -> list[str]:
    """Those spans right under the root; aiohttp's `connect` lies deeper."""
    below = sorted((span for span in start.spans if span.parent_id == start.root.span_id), key=lambda span: span.begin)
    return [span.name for span in below if span.name in PHASES]


async def test_baseline_greets(baseline: WorkerUnderTest) -> None:
    """With every improvement off a caller hears their account's greeting, after every step of the brief, one by one."""
    start = await baseline.greets(ADA)
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.dispatch"] == "join"
    assert _tasks(start) == BRIEF
    assert _phases(start) == PHASES
    for one, other in itertools.pairwise(BRIEF):
        assert start[one].end <= start[other].begin, f"{one} and {other} overlap"
    assert start["session.ready"].begin >= start.root.end
    assert start["session.ready"].attributes["startup.init"] > 0
    assert not [name for name in start.names if name.startswith("deferred.")]
    assert len(start.spans) <= MOST_SPANS_IN_ORDER
    # though LiveKit's own span is the current one in there
    explained = {span.name for span in start.spans if span.parent_id == start["session"].span_id}
    assert {"GET", "AgentSession._update_activity_task", "RoomIO._init_task"} <= explained


async def test_tuned_greets(greeted: Traced) -> None:
    """With every improvement on a caller hears their account's greeting; what it doesn't need runs beside it or after it."""
    start = greeted
    assert start.outcome == "first_word"
    assert start.root.attributes["startup.account.result"] == "hit"
    assert set(_tasks(start)) == set(BRIEF) - TUNED_LATE
    assert {name.removeprefix("deferred.") for name in start.names if name.startswith("deferred.")} == TUNED_LATE
    for name in TUNED_LATE:
        assert start[f"deferred.{name}"].begin > start.root.end
    assert _phases(start) == PHASES
    assert start["dispatch"].begin == start.root.begin
    stages = {span.name for span in start.spans if span.parent_id == start["dispatch"].span_id}
    assert {"critical dispatch.offer", "critical dispatch.entrypoint"} <= stages
    # the worker had an idle process: whether handing the job to it took a piece of its own is the machine's matter
    assert "critical dispatch.process_wait" not in stages
    assert len(start.spans) <= MOST_SPANS


async def test_traces_are_whole_and_tell_nothing(tuned: WorkerUnderTest, greeted: Traced) -> None:
    """LiveKit's own trace of the job is exported to its last span, is linked with the start's, and nothing private is in any."""
    (job_trace,) = greeted.root.edges
    job = [span for span in tuned.spans if span.trace_id == job_trace]
    (entry,) = (span for span in job if span.name == "job_entrypoint")
    assert entry.edges[greeted.root.trace_id] == greeted.root.edges[job_trace] == "job"
    assert private_in(tuned.exported, tuned.servers.stack) == []


async def test_a_log_is_json(tuned: WorkerUnderTest, greeted: Traced) -> None:
    """Every line of it: Python prints warnings in words of its own, where a library has made a process warn."""
    assert greeted.outcome == "first_word"
    assert [line for line in tuned.lines if not line.startswith("{")] == []


async def test_the_callers_own_traces_are_linked(tuned: WorkerUnderTest) -> None:
    """Who asks for the agent and who calls may each name a trace, also where only the former names the account."""
    asked, called = secrets.token_hex(16), secrets.token_hex(16)
    metadata = json.dumps({"account": ADA.id, "traceparent": f"00-{asked}-{secrets.token_hex(8)}-01"})
    attributes = {"traceparent": f"00-{called}-{secrets.token_hex(8)}-01"}
    caller = tuned.caller(metadata=metadata, attributes=attributes)
    await caller.connect()
    await caller.hear(PATIENCE)
    sid = await caller.room.sid
    root = (await tuned.trace(sid)).root
    await caller.leave()
    assert root.edges[asked] == root.edges[called] == "caller"
    assert root.trace_id not in (asked, called)


async def test_log_carries_the_trace(tuned: WorkerUnderTest, greeted: Traced) -> None:
    """What a session logs, LiveKit's lines too, names its trace, and none of it is an error."""
    start = greeted
    ours = [line for line in tuned.log if line.get("trace_id") == start.root.trace_id]
    assert any(line["message"].startswith("first word after") for line in ours)
    assert any(line["name"] == "livekit.agents" for line in ours)
    assert not tuned.errors(job=start.root.attributes["lk.job_id"])


async def test_registers_once_greetings_are_there(tuned: WorkerUnderTest) -> None:
    """Jobs come no earlier than what is made ahead for them; LiveKit's own part of the worker has begun meanwhile."""
    messages = [line["message"] for line in tuned.log]
    made = next(index for index, message in enumerate(messages) if message.startswith("made ahead: "))
    assert messages.index("preloading plugins") < made < messages.index("registered worker")


async def test_conversation(tuned: WorkerUnderTest) -> None:
    """After the greeting the caller is understood and answered by the full assistant, tools included, again and again.

    Nothing of it leaves the worker in a span: no name or number, nothing said, no instruction, no tool's result.
    """
    attributes = {"sip.phoneNumber": PHONE}
    caller = tuned.caller(account=ADA.id, identity=f"sip_{PHONE}", attributes=attributes)
    await caller.connect()
    sid = await caller.room.sid
    await caller.reads(ADA.name)
    await caller.say(500, 1)
    await caller.reads("You said: tell me about my account. I have 3 tools.")
    await caller.say(400, 1)
    answer = re.compile(r"The answer is: .*\d\d:\d\d on [A-Z][a-z]+day")
    await until(lambda: any(answer.search(text) for text in caller.texts))
    began = time.time()
    await caller.leave()
    (job_trace,) = (await tuned.trace(sid, whole=True)).root.edges
    turns = [span.name for span in tuned.spans if span.trace_id == job_trace]
    assert {"llm_request", "function_tool"} <= set(turns)
    assert private_in(tuned.exported, tuned.servers.stack) == []
    await tuned.rests()
    store = await SQLStore.open(f"sqlite+aiosqlite:///{tuned.folder / 'accounts.db'}")
    last = await store.resumption(ADA.id)
    await store.aclose()
    assert last is not None  # what the next session is told
    assert last.ended > began
    assert last.summary.startswith("The last words of the caller were: ")


@pytest.mark.parametrize("cached", [True, False], ids=["made ahead", "opening and synthesis"])
async def test_the_greeting_is_one_continuous_sound(tuned: WorkerUnderTest, cached: bool) -> None:
    """Through the hand-over to the session, and from a cached opening to the personal part: no gap, no click, all of it, once."""
    account = in_the_same_part_of_the_day() if cached else await tuned.stranger()
    room = tuned.room()
    caller = tuned.caller(room, account=account.id)
    await caller.connect()
    await tuned.says(caller, in_one_go(account) if cached else after_its_opening(account))
    sid = await caller.room.sid
    await caller.leave()
    start = await tuned.trace(sid)
    assert start["greeting"].attributes["startup.cache"] == ("hit" if cached else "miss")
    assert "greeting.shipped" not in start.root.events
    (take,) = tuned.takes(room)
    assert largest_gap(take, SAMPLE_RATE) <= 0.060
    assert not clicks(take, SAMPLE_RATE).size


@pytest.mark.soak
async def test_a_caller_who_speaks_at_once(tuned: WorkerUnderTest) -> None:
    """The first answer is the full assistant's, also when the caller talks into the greeting's first second."""
    caller = tuned.caller(account=ADA.id)
    await caller.connect()
    await caller.hear(PATIENCE)
    await caller.say(500, 1.5)
    await caller.reads("I have 3 tools")
    await caller.leave()


async def test_interruption(tuned: WorkerUnderTest) -> None:
    """The caller can interrupt the greeting by speaking, and is answered."""
    long = f"Good day. {'I have been looking forward to this call for quite a while. ' * 4}"
    account = await tuned.stranger(greeting=long)
    room = tuned.room()
    caller = tuned.caller(room, account=account.id)
    await caller.connect()
    await caller.hear(PATIENCE)
    await caller.play(SPEECH)
    # the simulator understands pitches, and recorded speech has several: it may ask for a tool
    await caller.reads("You said: ", "The answer is: ")
    await caller.leave()
    assert begun(speech(long.strip()))(tuned.takes(room)[0])

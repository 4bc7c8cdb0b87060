"""Calls of the shipped plan on virtual time: a fake LiveKit server, LiveKit's own session, a store and providers of known delays.

Everything takes exactly as long as it is told, so a call of seconds takes milliseconds, and a time is right or wrong.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from livekit.agents import JobContext
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from firstword.agent import entrypoint, startup
from firstword.agent.accounts.account_cache import AccountCache
from firstword.agent.accounts.account_store import AccountStore, StoreError, StoreFailure
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import Account, GreetingFields, LastSession, SessionRow
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.audio.provider_http import Judged, ProviderHTTP
from firstword.agent.audio.refusals import Refusals
from firstword.agent.audio.synthesis import Synthesis
from firstword.agent.cache.backend import CacheEntry
from firstword.agent.cache.cache import Cache
from firstword.agent.conversation.components import Components
from firstword.agent.flags.assignment import Assignment
from firstword.agent.flags.improvements import Flags, Improvement
from firstword.agent.greeting.audio_cache import AudioCache
from firstword.agent.parts import WorkerParts
from firstword.agent.process.caches import Caches
from firstword.agent.process.job_process import Process
from firstword.agent.settings import Settings
from firstword.agent.testing import FakeCaller, FakeJob, FakeLiveKit
from firstword.agent.testing.participant import HeardFrame
from firstword.agent.testing.providers import FakeLLM, FakeSTT, FakeTTS, FakeVAD
from firstword.agent.testing.virtual import LiveKitTest
from firstword.telemetry.clock import session_clock
from firstword.telemetry.export import Exporting
from firstword.telemetry.testing import CountingIds
from firstword.telemetry.vocabulary import OUTCOME, ROOT, TTFW

ADA = ACCOUNTS[0]
SHAPING = (
    *(Improvement(name) for name in startup.plan.flags if name != startup.ACCOUNT_IN_METADATA),
    Improvement.PARALLEL_INIT,
)
"""The flags that shape the plan; the others only change what a task uses."""


VOICE = "roomio_audio"
"""LiveKit's name of the track that a session speaks on."""


@dataclass(frozen=True)
class Shape:
    """Which flags are on, and whether the job's metadata names the account."""

    on: frozenset[Improvement]
    metadata: bool

    def __str__(self) -> str:
        return ",".join([*sorted(self.on), *(["metadata"] if self.metadata else [])]) or "none"


def shapes() -> Iterator[Shape]:
    """Every shape that the plan can have."""
    for on in itertools.product((False, True), repeat=len(SHAPING)):
        chosen = frozenset(flag for flag, is_on in zip(SHAPING, on, strict=True) if is_on)
        for metadata in (False, True):
            yield Shape(chosen, metadata)


def speaking_shapes() -> Iterator[Shape]:
    """Those that differ in who speaks when, each with all else off and with all else on."""
    decides = {Improvement.PARALLEL_INIT, Improvement.LIGHT_CONNECT, Improvement.SMART_GREETING}
    for shape in shapes():
        if shape.on - decides in (frozenset(), frozenset(SHAPING) - decides):
            yield shape


BASELINE, TUNED = Shape(frozenset(), metadata=True), Shape(frozenset(Improvement), metadata=True)


class Store(SQLStore):
    """Ada's account, and what is written. `read`: seconds for each read; fails: every one."""

    def __init__(self) -> None:
        self.read, self.fails = 0.100, False
        self.rows: list[SessionRow] = []
        self.holder = ADA
        self.last: LastSession | None = None
        self.kept: list[str] = []
        """Summaries of last sessions that were written."""

    async def account(self, id: str) -> Account | None:
        await self._wait()
        return self.holder if id == ADA.id else None

    async def greeting_fields(self, id: str) -> GreetingFields | None:
        return await self.account(id)

    async def resumption(self, id: str) -> LastSession | None:
        await self._wait()
        return self.last

    async def save_last_session(self, id: str, last: LastSession) -> None:
        await self._wait()
        self.kept.append(last.summary)

    async def record_session(self, session: SessionRow) -> None:
        await self._wait()
        self.rows.append(session)

    async def aclose(self) -> None: ...

    async def _wait(self) -> None:
        await asyncio.sleep(self.read)
        if self.fails:
            raise StoreError(StoreFailure.UNREACHABLE, "told to fail")


class Memory:
    """A cache's backend that forgets nothing."""

    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}

    async def prepare(self) -> None: ...

    async def get(self, key: str) -> CacheEntry | None:
        await asyncio.sleep(0.001)
        return CacheEntry(self._entries[key], 3600.0) if key in self._entries else None

    async def put(self, key: str, value: bytes, owner: str, lifetime: float) -> bool:
        self._entries[key] = value
        return True

    async def delete(self, key: str) -> None:
        self._entries.pop(key, None)

    async def delete_owner(self, owner: str) -> None: ...

    async def owners(self) -> set[str]:
        return set()

    async def aclose(self) -> None: ...


@dataclass(frozen=True)
class Ended:
    """A call that is over."""

    spans: Sequence[ReadableSpan]
    heard: Sequence[HeardFrame]
    """By the caller, on the agent's voice; without silence."""
    ended: str
    """Why the job ended."""
    rows: Sequence[SessionRow]
    began: float
    """When the job did, Unix seconds."""

    @property
    def root(self) -> ReadableSpan:
        """The start."""
        (root,) = (span for span in self.spans if span.name == ROOT)
        return root

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The root's."""
        return self.root.attributes or {}

    @property
    def outcome(self) -> str:
        return self.attributes[OUTCOME]

    @property
    def ttfw(self) -> float:
        """Time to first word, seconds."""
        return self.attributes[TTFW]

    @property
    def events(self) -> list[str]:
        """On the root, but for the job's own."""
        return [event.name for event in self.root.events if not event.name.startswith("job.")]

    @property
    def seconds(self) -> float:
        """From the job's begin to the start's end."""
        return (self.root.end_time or 0) / 1e9 - self.began

    def span(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self.spans if span.name == name)
        return span


@dataclass
class VirtualCall:
    """One call that goes on: what a scenario acts on."""

    livekit: FakeLiveKit
    caller: FakeCaller
    store: Store
    tts: FakeTTS
    stt: FakeSTT
    llm: FakeLLM
    vad: FakeVAD
    process: Process
    job: FakeJob = field(init=False)
    began: float = field(init=False)

    async def at(self, seconds: float) -> None:
        """Wait until so many seconds after the job began."""
        await asyncio.sleep(max(self.began + seconds - asyncio.get_running_loop().time(), 0.0))

    async def heard(self) -> None:
        """Wait until the caller has heard something."""
        while not self.caller.heard:  # noqa: ASYNC110 - on virtual time it costs nothing
            await asyncio.sleep(0.010)

    async def hang_up(self, after: float = 0.5) -> None:
        """The caller is greeted, listens on for a while, and leaves."""
        await self.heard()
        await asyncio.sleep(after)
        await self.caller.leave()


Scenario = Callable[[VirtualCall], Coroutine[Any, Any, None]]


class VirtualCalls:
    """Runs calls, each on a server of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(
        self,
        scenario: Scenario,
        shape: Shape = TUNED,
        *,
        prepare: Callable[[VirtualCall], Awaitable[None] | None] = lambda _: None,
        microphone: bool = True,
        token: dict[str, Any] | None = None,
        metadata: str | None = None,
        departure: float = 0.5,
        room: str = "call",
        identity: str = "caller",
        exporting: Exporting | None = None,
        **settings: Any,
    ) -> Ended:
        """A call under this shape; `scenario` is what happens beside it, `prepare` what is done before it begins.

        token: the caller's. metadata: the job's, if not the shape's. departure: seconds after the last caller's leaving in which the room is closed.
        exporting: where spans go; by default into what is returned. settings: over the defaults.
        """
        memory = InMemorySpanExporter()
        own = Exporting([memory], resource=Resource({"service.name": "test"}), ids=CountingIds())
        test = LiveKitTest()

        async def conduct(livekit: FakeLiveKit) -> Ended:
            livekit.room(room, {"departureTimeout": departure})
            process = _process(self.settings.model_copy(update=settings), shape, exporting or own)
            caller = FakeCaller(livekit, room, identity, microphone=microphone, **(token or {}))
            parts = cast("Any", process.components)
            named = json.dumps({"account": ADA.id}) if shape.metadata else ""
            call = VirtualCall(
                livekit,
                caller,
                cast("Store", process.store),
                parts.tts,
                parts.stt,
                parts.llm,
                parts.vad,
                process,
            )
            if (preparing := prepare(call)) is not None:
                await preparing
            clock = session_clock()
            began = clock() / 1e9

            async def enter(job: JobContext) -> None:
                await entrypoint.conduct(job, process, clock=clock)

            call.job, call.began = (
                FakeJob(livekit, room=room, metadata=named if metadata is None else metadata),
                asyncio.get_running_loop().time(),
            )
            meanwhile = asyncio.create_task(scenario(call))
            ended = await call.job.run(enter)
            await meanwhile
            heard = [each for each in caller.heard if each.track == VOICE and any(each.frame.data)]
            return Ended((), heard, ended, getattr(call.store, "rows", ()), began)

        try:
            ended = test.run(conduct)
            own.flush(5.0)
            return replace(ended, spans=memory.get_finished_spans())
        finally:
            own.shutdown()


def _process(settings: Settings, shape: Shape, exporting: Exporting) -> Process:
    parts, on = WorkerParts(settings, Refusals(None)), shape.on
    store: AccountStore = Store() if settings.parts is None else parts.store()
    accounts = Cache(Memory(), deadline=0.2) if Improvement.ACCOUNT_CACHE in on else None
    speeches = Cache(Memory(), deadline=0.2) if Improvement.SMART_GREETING in on else None
    components = _fakes(settings) if settings.parts is None else replace(parts.components(), vad=cast("Any", FakeVAD()))
    return Process(
        settings=settings,
        drawn=Assignment(Flags(on)),
        exporting=exporting,
        parts=parts,
        store=store,
        accounts=None if accounts is None else AccountCache(store, accounts, patience=0.6),
        speeches=None if speeches is None else AudioCache(speeches, days=1),
        components=components,
        caches=Caches(accounts, speeches),
    )


def _fakes(settings: Settings) -> Components:
    ear, mouth = FakeSTT(), FakeTTS()
    any_voice = ProviderHTTP(Judged("voice", "model", lambda voice: (voice,)), Refusals(None))
    return Components(
        stt=ear,
        llm=FakeLLM(),
        tts=mouth,
        speaker=Synthesis(cast("Any", mouth), any_voice, settings.tts_voice),
        vad=cast("Any", FakeVAD()),
        listen_in=lambda language: ear.update_options(language=language),
        turns_end_by="stt",
    )

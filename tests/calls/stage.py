"""The stage of the session tests: LiveKit's server, the provider simulators and real workers, each a process of its own.

Above rehearsal's own parts: adds the tokens, the speaking caller and the reading of traces that only tests need.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
import wave
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from livekit import api, rtc
from livekit.agents.types import TOPIC_TRANSCRIPTION

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import Account
from firstword.agent.accounts.store import AccountStore
from firstword.rehearsal.callers import AUDIBLE, MICROPHONE_RATE, Caller
from firstword.rehearsal.result import LOGS, TRACES
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.surroundings import simulators
from firstword.rehearsal.workers import Worker, running_worker
from firstword.telemetry.vocabulary import EDGE, OUTCOME, ROOM_SID, ROOT

VOICE_TRACK = "roomio_audio"
"""LiveKit's name for the track that the agent speaks on; background audio has one of its own."""
EXPORTED_WITHIN = 15.0
"""Seconds: a bound on waiting for a trace, so that a lost one fails its test."""
PATIENCE = 20.0
"""Seconds: a bound, so that silence fails a test."""
SOUNDS = Path(__file__).parents[2] / "agent" / "firstword" / "agent" / "greeting" / "sounds"
"""What ships with the package."""
SPEECH = SOUNDS / "hello.wav"
"""Words for a caller to say."""
_LOOK_EVERY = 0.02

Kind = Literal["standard", "sip", "egress", "agent"]


@dataclass(frozen=True)
class Span:
    """One exported span, as the OTLP JSON line had it."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    begin: int
    end: int
    attributes: Mapping[str, Any]
    events: tuple[str, ...]
    edges: Mapping[str, str]
    """Of its links: trace id, and what kind of edge it is (`startup.edge`)."""
    failed: bool

    def overlaps(self, other: Span) -> bool:
        """Both went on at the same time for a while."""
        return self.begin < other.end and other.begin < self.end


@dataclass(frozen=True)
class Traced:
    """The start-up trace of one session, as far as it has been exported."""

    root: Span
    spans: tuple[Span, ...]

    @property
    def outcome(self) -> str:
        return self.root.attributes[OUTCOME]

    @property
    def names(self) -> list[str]:
        """In order of their begin."""
        return [span.name for span in sorted(self.spans, key=lambda span: span.begin)]

    def __getitem__(self, name: str) -> Span:
        """The only span of that name."""
        (found,) = (span for span in self.spans if span.name == name)
        return found


class Speaker(Caller):
    """A caller who can also play recorded speech, and reads the transcripts."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url, token, record=True)
        self.texts: list[str] = []
        self._voice: list[tuple[float, bool]] = []

    async def play(self, file: Path) -> None:
        """Speak what is in a WAV file, mono with 16 bits; returns when the microphone has its last sample."""
        with wave.open(str(file), "rb") as sound:
            rate, samples = sound.getframerate(), np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
        at = np.arange(0, len(samples), rate / MICROPHONE_RATE)
        said = asyncio.Event()
        self._spoken.append((np.interp(at, np.arange(len(samples)), samples).astype(np.int16), said))
        await said.wait()

    async def connect(self) -> None:
        """Join, and read along."""
        await super().connect()
        self.room.register_text_stream_handler(TOPIC_TRANSCRIPTION, self._on_text)

    def _on_text(self, reader: rtc.TextStreamReader, _: str) -> None:
        self.texts.append("")
        place = len(self.texts) - 1

        async def read() -> None:
            async for words in reader:  # the agent's, as they are spoken
                self.texts[place] += words

        self._start(read())

    async def reads(self, text: str, within: float) -> None:
        """Wait until a transcript, of the agent's words or of ours, holds this text. TimeoutError names what was read."""
        try:
            await until(lambda: any(text in each for each in self.texts), within)
        except TimeoutError:
            raise TimeoutError(f"{text!r} is not in {self.texts}") from None

    async def meets_agent(self, within: float) -> None:
        """Wait until the agent is in the room."""
        await until(lambda: bool(self.room.remote_participants), within)

    async def subscribes(self, within: float) -> None:
        """Wait until the agent's voice is subscribed to."""
        await until(lambda: bool(self._voices()), within)

    def _voices(self) -> list[rtc.RemoteTrackPublication]:
        participants = self.room.remote_participants.values()
        publications = [each for participant in participants for each in participant.track_publications.values()]
        return [each for each in publications if each.name == VOICE_TRACK and each.track is not None]

    def voice(self) -> list[tuple[float, bool]]:
        """(when, whether it was audible) of each frame on the agent's voice's track, in order."""
        self._voice += [
            (frame.at, bool(np.abs(frame.samples.astype(np.int32)).max(initial=0) > AUDIBLE))
            for frame in self.heard_on(VOICE_TRACK)[len(self._voice) :]
        ]
        return list(self._voice)

    def last_heard(self) -> float:
        """When the agent's voice was last audible, on `time.monotonic()`."""
        return max(at for at, audible in self.voice() if audible)

    async def silence(self, seconds: float, within: float) -> None:
        """Wait until the agent has said nothing for so long. TimeoutError after `within` seconds."""
        await until(lambda: time.monotonic() - self.last_heard() >= seconds, within)


@dataclass
class Actor:
    """One worker under test, and the way to its callers, log and traces."""

    stage: Stage
    name: str
    worker: Worker
    folder: Path
    profile: str
    store_url: str

    def room(self) -> str:
        """A room nobody has been in."""
        return f"{self.profile}-{secrets.token_hex(4)}"

    def caller(self, room: str | None = None, *, account: str | None = None, **token: Any) -> Speaker:
        """A caller whose coming dispatches this agent; `token` as for `Stage.token`."""
        if account is not None:
            token["metadata"] = json.dumps({"account": account})
        return self.stage.caller(room or self.room(), agent_name=self.name, **token)

    async def greets(self, account: Account, *, whole: bool = True) -> Traced:
        """The trace of a caller who was greeted by name and left, and whose room was closed. whole: who heard all of it."""
        room = self.room()
        caller = self.caller(room, account=account.id)
        await caller.connect()
        try:
            await caller.hear(PATIENCE)
            await caller.reads(account.name, PATIENCE)
            if whole:
                await caller.silence(0.5, PATIENCE)
            sid = await caller.room.sid
        finally:
            await caller.leave()
            await self.stage.rooms.room.delete_room(api.DeleteRoomRequest(room=room))
        return await self.trace(sid, whole=whole)

    async def stranger(self) -> Account:
        """An account with Ada's voice and tools that nobody has called from: in the store, in no cache."""
        account = replace(ACCOUNTS[0], id=secrets.token_hex(4), name=f"Grace {secrets.token_hex(3)}")
        store = await AccountStore.open(self.store_url.partition("?")[0])
        await store.save(account)
        await store.aclose()
        return account

    @property
    def cache(self) -> Path:
        """The folder of its caches."""
        return self.folder / "cache" / self.profile

    @property
    def log(self) -> list[dict[str, Any]]:
        """What the worker and its processes have logged."""
        lines = (self.folder / LOGS / f"{self.profile}.log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def exported(self) -> bytes:
        """Every byte that has been exported."""
        return b"".join(file.read_bytes() for file in sorted(self._traces.glob("*.jsonl")))

    @property
    def pid(self) -> int:
        """The worker's own process."""
        return next(line["pid"] for line in self.log if line["message"] == "starting worker")

    @property
    def spans(self) -> list[Span]:
        """Every span that has been exported."""
        return spans_of(self._traces)

    @property
    def spans_by_process(self) -> list[list[Span]]:
        """The same, of each process by itself."""
        return [spans_in(file.read_bytes()) for file in self._traces.glob("*.jsonl")]

    async def trace(self, room_sid: str, *, whole: bool = False) -> Traced:
        """The trace of the session in that room, once its root is there; `whole`: once its process has ended too."""
        if whole:
            await self.worker.at_rest()
        await until(lambda: _find(self.spans, room_sid) is not None, EXPORTED_WITHIN)
        found = _find(self.spans, room_sid)
        assert found is not None
        return found

    @property
    def _traces(self) -> Path:
        return self.folder / TRACES / self.profile


async def until(holds: Callable[[], bool], within: float) -> None:
    """Wait for it. TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(_LOOK_EVERY)


def spans_of(folder: Path) -> list[Span]:
    """Every span in the files of a folder."""
    return [span for file in sorted(folder.glob("*.jsonl")) for span in spans_in(file.read_bytes())]


def spans_in(exported: bytes) -> list[Span]:
    """The spans in the OTLP JSON lines of a file; the last one counts once it is whole."""
    return [
        _span(span)
        for line in exported[: exported.rfind(b"\n") + 1].splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def _find(spans: list[Span], room_sid: str) -> Traced | None:
    for root in spans:
        if root.name == ROOT and root.attributes.get(ROOM_SID) == room_sid:
            return Traced(root, tuple(span for span in spans if span.trace_id == root.trace_id))
    return None


def _span(span: dict[str, Any]) -> Span:
    return Span(
        name=span["name"],
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId", ""),
        begin=int(span["startTimeUnixNano"]),
        end=int(span["endTimeUnixNano"]),
        attributes=_attributes(span),
        events=tuple(event["name"] for event in span.get("events", ())),
        edges={link["traceId"]: _attributes(link).get(EDGE, "") for link in span.get("links", ())},
        failed=span.get("status", {}).get("code") == 2,
    )


def _attributes(item: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: _value(each["value"]) for each in item.get("attributes", ())}


def _value(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [_value(item) for item in content.get("values", ())]
    return int(content) if kind == "intValue" else content


@dataclass
class Stage:
    """Server and providers, and the workers started so far."""

    stack: Stack
    providers: Mapping[str, str]
    folder: Path
    rooms: api.LiveKitAPI

    def caller(self, room: str, **token: Any) -> Speaker:
        """A caller of this room, with everything they hear recorded."""
        return Speaker(self.stack.livekit_url, self.token(room, **token))

    def token(
        self,
        room: str,
        *,
        identity: str = "caller",
        agent_name: str | None = None,
        metadata: str = "",
        attributes: dict[str, str] | None = None,
        may_update: bool = False,
        kind: Kind = "standard",
        departure_timeout: int = 1,
    ) -> str:
        """A token to join `room`; with `agent_name` it dispatches that agent. The room closes `departure_timeout` s after the last has left."""
        token = (
            api.AccessToken(self.stack.api_key, self.stack.api_secret)
            .with_identity(identity)
            .with_kind(kind)
            .with_attributes(attributes or {})
            .with_grants(api.VideoGrants(room_join=True, room=room, can_update_own_metadata=may_update))
        )
        if agent_name is not None:
            agents = [api.RoomAgentDispatch(agent_name=agent_name, metadata=metadata)]
            token = token.with_room_config(
                api.RoomConfiguration(agents=agents, departure_timeout=departure_timeout, empty_timeout=60)
            )
        return token.to_jwt()

    @contextlib.asynccontextmanager
    async def actor(
        self, profile: str, environment: Mapping[str, str] | None = None, *, name: str | None = None
    ) -> AsyncGenerator[Actor]:
        """A registered worker of `profile`, with `environment` over the usual one; gone on exit."""
        own = secrets.token_hex(3)
        folder = self.folder / own
        name = f"test-{own}" if name is None else name
        usual = {
            **self.providers,
            "OPENAI_API_KEY": "simulated",
            "DEEPGRAM_API_KEY": "simulated",
            "FIRSTWORD_STORE_URL": f"sqlite+simulated:///{folder / 'accounts.db'}",
            "FIRSTWORD_IDLE_PROCESSES": "1",
            "OTEL_BSP_SCHEDULE_DELAY": "100",  # ms; nobody waits 5 s for a trace
        }
        environment = {**usual, **(environment or {})}
        running = running_worker(profile, agent_name=name, folder=folder, stack=self.stack, environment=environment)
        async with running as worker:
            await worker.registered()
            yield Actor(self, name, worker, folder, profile, environment["FIRSTWORD_STORE_URL"])


@contextlib.asynccontextmanager
async def stage(folder: Path) -> AsyncGenerator[Stage]:
    """Server and simulators in `folder`; gone on exit."""
    async with (
        LocalStack(folder) as stack,
        simulators(None, folder / "providers.log") as addresses,
        api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
    ):
        providers = {f"{name.upper()}_BASE_URL": address for name, address in addresses.items()}
        yield Stage(stack, providers, folder, rooms)

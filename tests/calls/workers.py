"""What the session tests call: LiveKit's server, the provider simulators and real workers, each a process of its own.

Above rehearsal's own parts: adds the tokens that only tests need, and the way to what a worker said, logged and exported.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from livekit import api

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import Account
from firstword.agent.accounts.sql_store import SQLStore
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.result import LOGS, TRACES
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.rehearsal.workers import RunningWorker, running_worker
from tests.calls import sent
from tests.calls.sent import Samples
from tests.calls.speaker import Speaker
from tests.calls.traces import Span, Traced, find_start, spans_in, spans_of
from tests.calls.waiting import PATIENCE, until

WORKER = Path(__file__).parent / "recording_worker.py"
"""The shipped worker, which writes down what it sends."""
PATIENT: Final = {
    **{f"FIRSTWORD_{name}_DEADLINE": str(PATIENCE) for name in ("ACCOUNT", "STORE", "GREETING", "SPEECH")},
    "FIRSTWORD_START_TIMEOUT": str(PATIENCE),
    "FIRSTWORD_FIXED_LOAD": "0.1",
    "FIRSTWORD_IDLE_PROCESSES": "2",
}
"""A worker's variables on a machine that is busy with other things: there a start would do without what is late, and
LiveKit gives a worker no job from a load of 0.7 on. With one idle process it counts as full while a call begins, and
may say so for 2.5 s: who calls then has no agent. Tests of deadlines set their own.
"""
READY = ("process initialized", "job runner initialized")
"""What LiveKit logs of a process or a thread that may take a job. On a busy machine its worker registers without."""
SENT = "sent"
"""The folder of what it sends, in the worker's own."""

Kind = Literal["standard", "sip", "connector", "egress", "agent"]


@dataclass
class WorkerUnderTest:
    """One worker under test, and the way to its callers, log and traces."""

    servers: CallServers
    name: str
    running: RunningWorker
    folder: Path
    profile: str
    store_url: str

    def room(self) -> str:
        """A room nobody has been in."""
        return f"{self.profile}-{secrets.token_hex(4)}"

    def caller(self, room: str | None = None, *, account: str | None = None, **token: Any) -> Speaker:
        """A caller whose coming dispatches this agent; `token` as for `CallServers.token`."""
        if account is not None:
            token["metadata"] = json.dumps({"account": account})
        return self.servers.caller(room or self.room(), agent_name=self.name, **token)

    async def greets(self, account: Account, *, whole: bool = True) -> Traced:
        """The trace of a caller who was greeted by name and left, and whose room was closed. whole: who heard all of it."""
        room = self.room()
        caller = self.caller(room, account=account.id)
        await caller.connect()
        try:
            await caller.hear(PATIENCE)
            await caller.reads(account.name)
            if whole:
                await caller.silence()
            sid = await caller.room.sid
        finally:
            await caller.leave()
            await self.servers.rooms.room.delete_room(api.DeleteRoomRequest(room=room))
        return await self.trace(sid, whole=whole)

    def takes(self, room: str) -> list[Samples]:
        """What it has sent on its voice in that room, sample by sample; a new take begins where its queue was dropped."""
        return sent.takes(self.folder / SENT, room)

    async def says(self, caller: Speaker, whole: Callable[[Samples], bool], *, since: float = 0.0) -> None:
        """Wait until the agent has sent what is `whole`, and this caller has heard it from its beginning to its end, and once.

        since: what they heard before counts for nothing, on `time.monotonic()`. AssertionError says what was sent, or what is
        missing. Holes in what they heard are the transport's: what was sent has none.
        """
        room = caller.room.name
        try:
            await until(lambda: any(map(whole, self.takes(room)[-1:])))
        except TimeoutError:
            raise AssertionError(
                f"the agent sent takes of {list(map(len, self.takes(room)))} samples, none whole"
            ) from None
        await caller.hears(self.takes(room)[-1], since=since)
        assert whole(self.takes(room)[-1]), "the agent has gone on, though all was said"

    async def there(self, room: str) -> None:
        """Wait until somebody is active in that room, as the server sees it: an agent that was called ahead."""
        async with asyncio.timeout(PATIENCE):
            while True:
                there = await self.servers.rooms.room.list_participants(api.ListParticipantsRequest(room=room))
                if any(each.state == api.ParticipantInfo.ACTIVE for each in there.participants):
                    return
                await asyncio.sleep(0.05)

    async def stranger(self, **fields: Any) -> Account:
        """An account with Ada's voice and tools, but for `fields`, that nobody has called from: in the store, in no cache."""
        own = {"id": secrets.token_hex(4), "name": f"Grace {secrets.token_hex(3)}", **fields}
        account = replace(ACCOUNTS[0], **own)
        store = await SQLStore.open(self.store_url.partition("?")[0])
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
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    @property
    def lines(self) -> list[str]:
        """The same as it stands there, with what others have printed."""
        return (self.folder / LOGS / f"{self.profile}.log").read_text(errors="replace").splitlines()

    def errors(self, job: str | None = None) -> list[str]:
        """What was logged as an error (of one job): not by LiveKit's native client, to which each transport that ends early is one."""
        lines = [line for line in self.log if job is None or line.get("job_id") == job]
        return [line["message"] for line in lines if line["level"] == "ERROR" and line["name"] != "livekit"]

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
            await self.rests()
        await until(lambda: find_start(self.spans, room_sid) is not None)
        found = find_start(self.spans, room_sid)
        assert found is not None
        return found

    async def rests(self) -> None:
        """Wait until the processes of past calls are gone and their replacements ready."""
        assert await self.running.at_rest(PATIENCE), (
            "a process of a past call is still there, or its replacement is not"
        )

    @property
    def _traces(self) -> Path:
        return self.folder / TRACES / self.profile


@dataclass
class CallServers:
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
            .with_attributes(attributes or {})
            .with_grants(api.VideoGrants(room_join=True, room=room, can_update_own_metadata=may_update))
        )
        token.claims.kind = kind  # `with_kind` does not know all that a server takes
        if agent_name is not None:
            agents = [api.RoomAgentDispatch(agent_name=agent_name, metadata=metadata)]
            token = token.with_room_config(
                api.RoomConfiguration(agents=agents, departure_timeout=departure_timeout, empty_timeout=60)
            )
        return token.to_jwt()

    @contextlib.asynccontextmanager
    async def worker(
        self, profile: str, environment: Mapping[str, str] | None = None, *, name: str | None = None
    ) -> AsyncGenerator[WorkerUnderTest]:
        """A registered worker of `profile`, with `environment` over the usual one; gone on exit."""
        own = secrets.token_hex(3)
        folder = self.folder / own
        name = f"test-{own}" if name is None else name
        usual = {
            **self.providers,
            **PATIENT,
            "OPENAI_API_KEY": "simulated",
            "DEEPGRAM_API_KEY": "simulated",
            "FIRSTWORD_STORE_URL": f"sqlite+simulated:///{folder / 'accounts.db'}",
            sent.FOLDER: str(folder / SENT),
            "OTEL_BSP_SCHEDULE_DELAY": "100",  # ms; nobody waits 5 s for a trace
        }
        environment = {**usual, **(environment or {})}
        (folder / SENT).mkdir(parents=True)
        worker = running_worker(
            profile, agent_name=name, folder=folder, stack=self.stack, environment=environment, entrypoint=WORKER
        )
        async with worker as running:
            await running.registered()
            made = WorkerUnderTest(self, name, running, folder, profile, environment["FIRSTWORD_STORE_URL"])
            idle = int(environment["FIRSTWORD_IDLE_PROCESSES"])
            await until(lambda: sum(line["message"] in READY for line in made.log) >= idle)
            await running.registered()  # now it knows how many
            yield made


@contextlib.asynccontextmanager
async def call_servers(folder: Path) -> AsyncGenerator[CallServers]:
    """Server and simulators in `folder`; gone on exit."""
    async with (
        LocalStack(folder) as stack,
        simulators(None, folder / "providers.log") as addresses,
        api.LiveKitAPI(stack.livekit_url, stack.api_key, stack.api_secret) as rooms,
    ):
        providers = {f"{name.upper()}_BASE_URL": address for name, address in addresses.items()}
        yield CallServers(stack, providers, folder, rooms)

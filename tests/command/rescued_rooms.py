"""LiveKit's rooms as `firstword rescue` asks for them, on virtual time: agents that die, leave or answer, and workers that take calls."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from firstword.agent.interruption import RESCUE
from firstword.command.rescuer.instruments import RescueInstruments
from firstword.command.rescuer.livekit_rooms import Answer, LiveKitError, Room, RoomDispatch, RoomParticipant
from firstword.command.rescuer.service import RescueService

AGENT, SECRET, ROOM = "reception", "s" * 32, "+49 30 1234567"
BEGIN = 1_795_000_000.0
CALLER = RoomParticipant("ada@example.com", BEGIN, caller=True, agent=False)


@dataclass
class FakeRoom:
    """One room of the fake server."""

    sid: str
    people: dict[str, RoomParticipant] = field(default_factory=dict[str, RoomParticipant])
    says: dict[str, Answer] = field(default_factory=dict[str, Answer])
    dispatches: list[RoomDispatch] = field(default_factory=list[RoomDispatch])


@dataclass
class FakeRooms:
    """A LiveKit server: its rooms, its workers, what it was asked to do, and why it gives no answer."""

    now: float = BEGIN
    workers: bool = True
    """Whether some worker takes what is dispatched."""
    away: LiveKitError | None = None
    held: dict[str, FakeRoom] = field(default_factory=dict[str, FakeRoom])
    asked: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    closing: set[str] = field(default_factory=set[str])
    """Rooms that are listed and can't be asked about."""
    made: int = 0

    def call(
        self, room: str = ROOM, *, agent: str = AGENT, metadata: str = "", people: Sequence[RoomParticipant] = (CALLER,)
    ) -> FakeRoom:
        """A call that an agent has taken."""
        held = self.held.setdefault(room, FakeRoom(f"RM_{len(self.held)}"))
        held.people |= {each.identity: each for each in people}
        self._take(room, self._made(room, agent, metadata))
        return held

    def dies(self, held: FakeRoom) -> None:
        """Its agents are killed: LiveKit keeps them, and they answer no more."""
        held.says = dict.fromkeys(held.says, Answer.SILENT)

    def is_dropped(self, held: FakeRoom) -> None:
        """LiveKit has dropped the agents that are silent."""
        for identity in [each for each, answer in held.says.items() if answer is Answer.SILENT]:
            del held.people[identity], held.says[identity]

    def ends(self, room: str = ROOM) -> None:
        """The agents leave on purpose, and each deletes its dispatch."""
        held = self.held[room]
        for identity in list(held.says):
            del held.people[identity], held.says[identity]
            held.dispatches = [each for each in held.dispatches if identity not in each.agents]

    def dispatched(self, room: str = ROOM) -> list[RoomDispatch]:
        """What agents were called to the room by the rescuers, and are not deleted."""
        return [each for each in self.held[room].dispatches if each.agent_name != RESCUE]

    async def rooms(self) -> Sequence[Room]:
        """All rooms."""
        await self._reached()
        return [Room(name, held.sid) for name, held in self.held.items()]

    async def participants(self, room: str) -> Sequence[RoomParticipant]:
        """Who is in it."""
        await self._reached(room)
        return list(self.held[room].people.values())

    async def dispatches(self, room: str) -> Sequence[RoomDispatch]:
        """What was not deleted."""
        await self._reached(room)
        return sorted(self.held[room].dispatches, key=lambda each: (each.created, each.id))

    async def answer(self, room: str, identity: str) -> Answer:
        """What it says; a silent one takes its time."""
        await self._reached(room)
        return self.held[room].says.get(identity, Answer.ABSENT)

    async def dispatch(self, room: str, agent_name: str, metadata: str) -> RoomDispatch:
        """Made, and taken at once where there is a worker."""
        await self._reached()
        self.asked.append(("dispatch", agent_name))
        made = self._made(room, agent_name, metadata)
        if self.workers and agent_name != RESCUE:
            self._take(room, made)
        return made

    async def delete(self, room: str, dispatch: str) -> None:
        """Gone, with its agent."""
        await self._reached()
        self.asked.append(("delete", dispatch))
        held = self.held[room]
        held.dispatches = [each for each in held.dispatches if each.id != dispatch]

    async def remove(self, room: str, identity: str) -> None:
        """Out."""
        await self._reached()
        self.asked.append(("remove", identity))
        self.held[room].people.pop(identity, None)
        self.held[room].says.pop(identity, None)

    async def _reached(self, room: str = "") -> None:
        await asyncio.sleep(0)
        if room in self.closing:
            raise LiveKitError("no such room")
        if self.away is not None:
            raise self.away

    def _made(self, room: str, agent: str, metadata: str) -> RoomDispatch:
        self.made += 1
        made = RoomDispatch(f"AD_{self.made}", agent, metadata, self.now + self.made / 1e6)
        self.held[room].dispatches.append(made)
        return made

    def _take(self, room: str, dispatch: RoomDispatch) -> None:
        held, identity = self.held[room], f"agent-{dispatch.id}"
        place = held.dispatches.index(dispatch)
        held.dispatches[place] = replace(dispatch, agents=(identity,))
        held.people[identity] = RoomParticipant(identity, self.now, caller=False, agent=True)
        held.says[identity] = Answer.ALIVE


class Watch:
    """A rescuer of these rooms, and its metrics."""

    def __init__(self, rooms: FakeRooms, names: Collection[str] = (AGENT,), **options: Any) -> None:
        self.rooms = rooms
        self.reader = InMemoryMetricReader()
        instruments = RescueInstruments(MeterProvider([self.reader]).get_meter("rescue"))
        options = {"claim_key": None, **options}
        self.service = RescueService(
            rooms,
            names,
            SECRET,
            instruments=instruments,
            clock=lambda: rooms.now,
            wall_clock=lambda: rooms.now,
            **options,
        )

    def looks(self, seconds: float = 2.0) -> None:
        """Looks each other second for so long."""

        async def look() -> None:
            for _ in range(round(seconds / 2.0)):
                self.rooms.now += 2.0
                await self.service.look()

        asyncio.run(look())

    @property
    def counted(self) -> dict[str, int]:
        """Outcomes that were counted, without those that were not."""
        counts = {point.attributes["outcome"]: point.value for point in self._points("firstword.rescues")}
        return {outcome: count for outcome, count in counts.items() if count}

    def gauge(self, name: str) -> dict[str, float]:
        """A gauge's values, by state."""
        return {point.attributes.get("state", ""): point.value for point in self._points(name)}

    def _points(self, name: str) -> list[Any]:
        data: Any = self.reader.get_metrics_data()
        if data is None:
            return []
        scopes = (scope for resource in data.resource_metrics for scope in resource.scope_metrics)
        metrics = (metric for scope in scopes for metric in scope.metrics)
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]

"""What ends a call: its start takes too long, nobody comes, the caller leaves for good, the room is gone, it lasts too long.

Made with the call, told by the plan's tasks how far the start is. What an end means for the caller and
for the room is in `firstword.agent.call.ending`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

from livekit import rtc

from firstword.agent.call.caller import Caller
from firstword.agent.call.presence import Presence
from firstword.agent.call_settings import CallSettings
from firstword.telemetry.record import Outcome
from firstword.telemetry.run import Run

_EMPTY_ROOM = frozenset({rtc.DisconnectReason.ROOM_CLOSED, rtc.DisconnectReason.ROOM_DELETED})
"""Why a room ends that nobody needs any more."""


class End(StrEnum):
    """Why a call ended, as the session's row says it. A failure has its own words: what failed."""

    HUNG_UP = "caller hung up"
    BY_ASSISTANT = "assistant ended the call"
    CALLED_OFF = "called off"
    NO_CALLER = "no caller"
    TIMED_OUT = "start timed out"
    TOO_LONG = "longer than FIRSTWORD_MAX_CALL"


class Limits:
    """Stops the run when the start must end, with the outcome that says why, and the call when its caller is gone."""

    def __init__(self, run: Run, room: rtc.Room, settings: CallSettings) -> None:
        self._run = run
        self._room = room
        self._settings = settings
        self._over: Callable[[End], None] = lambda _: None
        self._timer: asyncio.TimerHandle | None = None
        self._longest: asyncio.TimerHandle | None = None
        self._presence: Presence | None = None
        self.end: End | None = None
        """Why the call ends, as far as the room tells."""

    def begin(self, over: Callable[[End], None]) -> None:
        """The start begins: it has `start_timeout` to connect. over: told why a call that was greeted must end."""
        self._over = over
        self._room.on("disconnected", self._disconnected)
        self._within(self._settings.start_timeout, Outcome.TIMED_OUT)

    def connected(self) -> None:
        """The room is there: from now on nobody is late but the caller, who has `caller_timeout`."""
        self._within(self._settings.caller_timeout, Outcome.NO_CALLER)

    def caller_arrived(self, caller: Caller) -> None:
        """The caller is there: the start has `start_timeout` to greet them, while they stay; the call has `max_call`."""
        self._within(self._settings.start_timeout, Outcome.TIMED_OUT)
        self._presence = Presence(
            self._room,
            caller,
            grace=self._settings.return_grace,
            gone=self._gone,
            back=lambda: self._run.event("caller.returned"),
        )
        self._presence.watch()
        loop = asyncio.get_running_loop()
        self._longest = loop.call_later(self._settings.max_call, self._over, End.TOO_LONG)

    @property
    def presence(self) -> Presence:
        """Whether the caller is there. Raises RuntimeError before `caller_arrived`."""
        if self._presence is None:
            raise RuntimeError("expected a caller: nobody has arrived yet")
        return self._presence

    @property
    def caller_here(self) -> bool:
        """Whether there is a caller, and in the room."""
        return self._presence is not None and self._presence.here

    @property
    def caller_left(self) -> bool:
        """Whether there was a caller, who is not in the room any more."""
        return self._presence is not None and not self._presence.here

    def lift_start(self) -> None:
        """The start has ended: no limit of its own ends it any more."""
        if self._timer is not None:
            self._timer.cancel()

    def lift(self) -> None:
        """The call has ended: nothing ends it any more."""
        self.lift_start()
        if self._longest is not None:
            self._longest.cancel()
        if self._presence is not None:
            self._presence.close()
        self._room.off("disconnected", self._disconnected)

    def _within(self, seconds: float, otherwise: Outcome) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._run.stop, otherwise)

    def _gone(self) -> None:
        if self._run.outcome is None:
            # who is seen no more because we are cut off has not left
            connected = self._room.connection_state == rtc.ConnectionState.CONN_CONNECTED
            self._run.stop(Outcome.ABANDONED if connected else Outcome.FAILED)
        else:
            self._over(End.HUNG_UP)

    def _disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._run.event("room.disconnected", {"reason": rtc.DisconnectReason.Name(reason)})
        came = self._presence is not None
        outcome = Outcome.FAILED
        if reason == rtc.DisconnectReason.PARTICIPANT_REMOVED:
            self.end, outcome = End.CALLED_OFF, Outcome.FAILED if came else Outcome.NO_CALLER
        elif reason in _EMPTY_ROOM:
            self.end, outcome = (End.HUNG_UP, Outcome.ABANDONED) if came else (End.NO_CALLER, Outcome.NO_CALLER)
        self._run.stop(outcome)

"""Decides when a call must end: nobody comes, the caller leaves for good, the room is gone, or start or call take too
long.

Made with the call; the plan's tasks tell it how far the start is. What an end means for the caller and for the room is
in `firstword.agent.call.ending`.
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
    """The reason why a call ended, as the session's row has it. A failure has its own words: what failed."""

    HUNG_UP = "caller hung up"
    BY_ASSISTANT = "assistant ended the call"
    CALLED_OFF = "called off"
    NO_CALLER = "no caller"
    TIMED_OUT = "start timed out"
    TOO_LONG = "longer than FIRSTWORD_MAX_CALL"


class Limits:
    """Stops the run when the start must end, with the outcome that says why. Ends the call when its caller is gone or
    it is too long.
    """

    def __init__(self, run: Run, room: rtc.Room, settings: CallSettings) -> None:
        self._run = run
        self._room = room
        self._settings = settings
        self._over: Callable[[End], None] = lambda _: None
        self._timer: asyncio.TimerHandle | None = None
        self._longest: asyncio.TimerHandle | None = None
        self._presence: Presence | None = None
        self.end: End | None = None
        """Why the call ends, as far as the room tells; None before."""

    def begin(self, over: Callable[[End], None]) -> None:
        """Begins the limits of the start: it has `start_timeout` to connect. over: called with the reason when a
        greeted call must end.
        """
        self._over = over
        self._room.on("disconnected", self._disconnected)
        self._within(self._settings.start_timeout, Outcome.TIMED_OUT)

    def connected(self) -> None:
        """Records that the room is joined: from now on the caller has `caller_timeout` to come."""
        self._within(self._settings.caller_timeout, Outcome.NO_CALLER)

    def caller_arrived(self, caller: Caller) -> None:
        """Records that the caller has come: the start has `start_timeout` to greet them, and the call has `max_call`.

        From now on the caller's presence is watched.
        """
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
        """Returns the watch over the caller's presence. Raises RuntimeError before `caller_arrived`."""
        if self._presence is None:
            raise RuntimeError("expected a caller: nobody has arrived yet")
        return self._presence

    @property
    def caller_here(self) -> bool:
        """Returns whether a caller has come and is in the room now."""
        return self._presence is not None and self._presence.here

    @property
    def caller_left(self) -> bool:
        """Returns whether a caller has come and is not in the room any more."""
        return self._presence is not None and not self._presence.here

    def lift_start(self) -> None:
        """Cancels the time limit of the start, because the start has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def lift(self) -> None:
        """Cancels all limits and stops watching room and caller, because the call has ended."""
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

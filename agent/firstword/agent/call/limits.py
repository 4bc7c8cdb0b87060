"""What may end a start before its first word: it takes too long, nobody comes, the caller leaves for good, the room is gone.

Around `Run.perform`: made by `firstword.agent.entrypoint`, told by the plan's tasks how far the start is.
"""

from __future__ import annotations

import asyncio

from livekit import rtc

from firstword.agent.call.caller import Caller
from firstword.agent.call.presence import Presence
from firstword.agent.settings import Settings
from firstword.telemetry.record import Outcome
from firstword.telemetry.run import Run

_EMPTY_ROOM = frozenset({rtc.DisconnectReason.ROOM_CLOSED, rtc.DisconnectReason.ROOM_DELETED})
"""Why a room ends that nobody needs any more."""


class Limits:
    """Stops the run when the start must end, with the outcome that says why; from `begin` to `lift`."""

    def __init__(self, run: Run, room: rtc.Room, settings: Settings) -> None:
        self._run = run
        self._room = room
        self._settings = settings
        self._timer: asyncio.TimerHandle | None = None
        self._presence: Presence | None = None

    def begin(self) -> None:
        """The start begins: it has `start_timeout` to connect."""
        self._room.on("disconnected", self._disconnected)
        self._within(self._settings.start_timeout, Outcome.TIMED_OUT)

    def connected(self) -> None:
        """The room is there: from now on nobody is late but the caller, who has `caller_timeout`."""
        self._within(self._settings.caller_timeout, Outcome.NO_CALLER)

    def caller_arrived(self, caller: Caller) -> None:
        """The caller is there: the start has `start_timeout` to greet them, while they stay."""
        self._within(self._settings.start_timeout, Outcome.TIMED_OUT)
        self._presence = Presence(
            self._room,
            caller,
            grace=self._settings.return_grace,
            gone=lambda: self._run.stop(Outcome.ABANDONED),
            back=lambda: self._run.event("caller.returned"),
        )
        self._presence.watch()

    @property
    def presence(self) -> Presence:
        """Whether the caller is there. Raises RuntimeError before `caller_arrived`."""
        if self._presence is None:
            raise RuntimeError("expected a caller: nobody has arrived yet")
        return self._presence

    def lift(self) -> None:
        """The start has ended: nothing ends it any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._presence is not None:
            self._presence.close()
        self._room.off("disconnected", self._disconnected)

    def _within(self, seconds: float, otherwise: Outcome) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._run.stop, otherwise)

    def _disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._run.event("room.disconnected", {"reason": rtc.DisconnectReason.Name(reason)})
        if reason not in _EMPTY_ROOM:
            self._run.stop(Outcome.FAILED)
        else:
            self._run.stop(Outcome.NO_CALLER if self._presence is None else Outcome.ABANDONED)

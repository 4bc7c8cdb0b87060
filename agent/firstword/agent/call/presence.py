"""Watches whether the caller is in the room: one who leaves and comes back, and one who leaves for good.

From the caller's arrival until the call ends; `firstword.agent.call.limits` says what follows from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from livekit import rtc

from firstword.agent.call.caller import Caller

ANNOUNCED_WITHIN_S = 1.0
"""Seconds from a participant's joining until LiveKit announces them, at the slowest. Only joining has to happen within
the grace.
"""


class Presence:
    """Watches whether the caller is in the room and would hear the agent, and reports when they come back or leave for
    good.

    grace: seconds in which a caller who left may join again. gone, back: called on the loop, from `watch` to `close`.
    """

    def __init__(
        self, room: rtc.Room, caller: Caller, *, grace: float, gone: Callable[[], None], back: Callable[[], None]
    ) -> None:
        self._room = room
        self._caller = caller
        self._grace = grace
        self._gone, self._back = gone, back
        self._timer: asyncio.TimerHandle | None = None
        self._here, self._subscribed = asyncio.Event(), asyncio.Event()
        self._returned = False
        self._here.set()

    def watch(self) -> None:
        """Begins to watch. A caller who isn't in the room now has left, and may still come back within the grace."""
        self._room.on("participant_disconnected", self._left)
        self._room.on("participant_connected", self._came)
        self._room.on("local_track_subscribed", self._track_subscribed)
        if self._caller.identity not in self._room.remote_participants:
            self._left(self._caller.participant)

    def close(self) -> None:
        """Stops watching the caller: `gone` and `back` are not called any more."""
        self._room.off("participant_disconnected", self._left)
        self._room.off("participant_connected", self._came)
        self._room.off("local_track_subscribed", self._track_subscribed)
        self._cancel()

    @property
    def caller(self) -> Caller:
        """Returns the caller who is watched."""
        return self._caller

    @property
    def here(self) -> bool:
        """Returns whether the caller is in the room."""
        return self._here.is_set()

    def follow(self, caller: Caller) -> None:
        """Watches another participant of the room as the caller from now on."""
        self._cancel()
        self._caller = caller
        self._here.set()

    @property
    def hears(self) -> bool:
        """Returns whether the caller would hear a frame now: they are in the room and, after a return, have subscribed
        anew.
        """
        return self._here.is_set() and (not self._returned or self._subscribed.is_set())

    def missed_it(self) -> None:
        """Records that the caller has not heard what was said until now: they came after it, and somebody else had
        subscribed.
        """
        self._returned = True
        self._subscribed.clear()

    async def hearing(self) -> None:
        """Waits until the caller is here and can hear. For one who came back it publishes the agent's tracks anew and
        waits for them to subscribe.
        """
        await self._here.wait()
        while not self.hears and (published := _published(self._room)):
            await _publish_anew(self._room, published)
            await self._here.wait()

    def _cancel(self) -> bool:
        waiting, self._timer = self._timer, None
        if waiting is not None:
            waiting.cancel()
        return waiting is not None

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._caller.identity and self._timer is None:
            self._here.clear()
            self._subscribed.clear()
            self._timer = asyncio.get_running_loop().call_later(self._grace + ANNOUNCED_WITHIN_S, self._gone)

    def _came(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._caller.identity and self._cancel():
            self._returned = True
            self._here.set()
            self._back()

    def _track_subscribed(self, _: rtc.Track) -> None:
        if self._here.is_set():
            self._subscribed.set()


def _published(room: rtc.Room) -> list[tuple[rtc.LocalTrackPublication, rtc.LocalTrack]]:
    publications = room.local_participant.track_publications.values()
    return [(each, each.track) for each in publications if isinstance(each.track, rtc.LocalTrack)]


async def _publish_anew(room: rtc.Room, published: list[tuple[rtc.LocalTrackPublication, rtc.LocalTrack]]) -> None:
    """Returns when each track is subscribed to. LiveKit tells only the first subscription of a publication."""
    for publication, track in published:
        await room.local_participant.unpublish_track(publication.sid)
        options = rtc.TrackPublishOptions(source=publication.source)
        again = await room.local_participant.publish_track(track, options)
        await again.wait_for_subscription()

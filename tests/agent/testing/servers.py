"""A LiveKit server for a test: the fake on virtual time, or the real one; a test can't tell which."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from livekit import api, rtc

from firstword.agent.testing.livekit import URL, FakeAPI, FakeLiveKit
from firstword.agent.testing.virtual import LiveKitTest
from firstword.rehearsal.stack import LocalStack

PATIENCE = 120.0
"""Seconds: a bound, so that what does not happen fails a test."""
EVENTS = (
    *("connection_state_changed", "disconnected", "reconnecting", "reconnected"),
    *("participant_connected", "participant_active", "participant_disconnected"),
    *("track_published", "track_unpublished", "track_subscribed", "track_unsubscribed", "track_muted", "track_unmuted"),
    *("local_track_published", "local_track_unpublished", "local_track_subscribed"),
    *("participant_attributes_changed", "participant_metadata_changed", "participant_permissions_changed"),
    *("room_metadata_changed", "data_received", "sip_dtmf_received"),
)


class Rooms(Protocol):
    """What the tests use of a server's API."""

    async def delete_room(self, delete: api.DeleteRoomRequest) -> api.DeleteRoomResponse: ...
    async def remove_participant(self, remove: api.RoomParticipantIdentity) -> api.RemoveParticipantResponse: ...
    async def update_participant(self, update: api.UpdateParticipantRequest) -> api.ParticipantInfo: ...
    async def update_room_metadata(self, update: api.UpdateRoomMetadataRequest) -> api.Room: ...


class Observed(rtc.Room):
    """A room that writes down what it reports: (event, what it is about)."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, str]] = []
        for name in EVENTS:
            self.on(name, self._note(name))  # pyright: ignore[reportArgumentType] # one of them

    def _note(self, name: str) -> Callable[..., None]:
        def note(*arguments: Any) -> None:
            first, last = arguments[:1] or ("",), arguments[-1:]
            (about,) = last if name == "participant_attributes_changed" else first
            self.events.append((name, _said(about)))

        return note

    def about(self, *names: str) -> list[tuple[str, str]]:
        """Of the events so far those of these names."""
        return [event for event in self.events if event[0] in names]

    async def reports(self, name: str, about: str | None = None, *, times: int = 1) -> None:
        """Wait until it has. TimeoutError names what it has reported."""
        try:
            async with asyncio.timeout(PATIENCE):
                while sum(each == name and about in (None, what) for each, what in self.events) < times:  # noqa: ASYNC110 - what happens elsewhere
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise TimeoutError(f"no {name} of {about}, but {self.events}") from None


def _said(about: Any) -> str:
    if isinstance(about, rtc.DataPacket):
        return f"{about.data.decode()} by {about.participant.identity if about.participant else None}"
    if isinstance(about, rtc.SipDTMF):
        return about.digit
    for name in ("identity", "name"):
        if isinstance(said := getattr(about, name, None), str):
            return said
    return str(about)


class Server:
    """A server and its rooms. `room`: a name that nobody has used."""

    def __init__(self, url: str, key: str, secret: str, rooms: Rooms) -> None:
        self.url, self.rooms = url, rooms
        self.room = f"room-{secrets.token_hex(4)}"
        self._key, self._secret = key, secret

    async def join(
        self,
        identity: str,
        *,
        kind: str = "standard",
        attributes: dict[str, str] | None = None,
        auto_subscribe: bool = True,
        departure_timeout: int | None = None,
        **grants: Any,
    ) -> Observed:
        """Somebody joins the room."""
        token = api.AccessToken(self._key, self._secret).with_identity(identity).with_attributes(attributes or {})
        token.with_grants(api.VideoGrants(room_join=True, room=self.room, **grants))
        token.claims.kind = kind
        if departure_timeout is not None:
            token.with_room_config(api.RoomConfiguration(departure_timeout=departure_timeout))
        room = Observed()
        options = rtc.RoomOptions(auto_subscribe=auto_subscribe)
        async with asyncio.timeout(PATIENCE):
            await room.connect(self.url, token.to_jwt(), options)
        return room


async def published(room: Observed, name: str) -> tuple[rtc.LocalTrackPublication, rtc.AudioSource]:
    """A microphone of this name, and what it plays."""
    source = rtc.AudioSource(24_000, 1)
    track = rtc.LocalAudioTrack.create_audio_track(name, source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    return await room.local_participant.publish_track(track, options), source


Scenario = Callable[[Server], Coroutine[Any, Any, None]]


class Servers(Protocol):
    """Runs a scenario on one kind of server."""

    def run(self, scenario: Scenario) -> None: ...


class FakeServers:
    """On virtual time, a new one each."""

    def run(self, scenario: Scenario) -> None:
        async def begin(livekit: FakeLiveKit) -> None:
            await scenario(Server(URL, "key", "secret" * 8, FakeAPI(livekit).room))

        test = LiveKitTest()
        test.run(begin)


class RealServers:
    """One for all of them."""

    def __init__(self, runner: asyncio.Runner, url: str, key: str, secret: str) -> None:
        self._runner, self._url, self._key, self._secret = runner, url, key, secret

    def run(self, scenario: Scenario) -> None:
        async def begin() -> None:
            async with api.LiveKitAPI(self._url, self._key, self._secret) as rooms:
                await scenario(Server(self._url, self._key, self._secret, rooms.room))

        self._runner.run(begin())


@contextmanager
def real_servers(folder: Path) -> Generator[RealServers]:
    """LiveKit's server, for as long as the block runs."""
    with asyncio.Runner() as runner:
        stack = LocalStack(folder)
        running = runner.run(stack.__aenter__())
        try:
            yield RealServers(runner, running.livekit_url, running.api_key, running.api_secret)
        finally:
            runner.run(stack.__aexit__(None, None, None))

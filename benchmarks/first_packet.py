"""What LiveKit's audio queue costs the first word: the same sound, from the queue and past it, to the same caller.

    python -m benchmarks.first_packet --calls 20

A bare publisher and one caller on a local LiveKit server, the ways in turn. `queued` is how LiveKit's agents speak, and
ours: the native source sends 10 ms of its queue every 10 ms, or of silence, from when the track is published on.
`direct` goes past the queue, 20 ms ahead of the clock: nothing is sent before the sound, and Python keeps its pace.
With `join` the caller is there first, with `ahead` the track. Seconds are the caller's: to the first audible frame.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from livekit import api, rtc
from rich.console import Console
from rich.progress import track

from firstword.rehearsal.callers import RehearsalCaller, join_token
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.telemetry.record import Dispatch

WAYS = ("queued", "direct")
SAMPLE_RATE = 24_000
"""Hz; that of the agent's voice."""
TONE = (8_000 * np.cos(2 * np.pi * 400 / SAMPLE_RATE * np.arange(SAMPLE_RATE))).astype(np.int16)
"""One second; it begins at its peak, so that its first sample is audible."""
CHUNK = SAMPLE_RATE // 100
"""Samples of 10 ms: what a source without a queue takes at a time."""
LEAD_S = 0.02
"""Seconds that `direct` is ahead of the clock: one packet."""
SETTLED_S = 1.0
"""Seconds between who comes first and who comes then: connected, and the codec has gone quiet."""
PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One call: seconds to the first audible frame."""

    since_subscription: float
    """From when the publisher was told of it."""
    since_connect: float
    """From when the one who came last began to connect."""


class Publisher:
    """An agent with nothing to prepare."""

    def __init__(self, stack: Stack, room: str, way: str) -> None:
        self._url, self._way = stack.livekit_url, way
        grants = api.VideoGrants(room_join=True, room=room, agent=True)
        token = api.AccessToken(stack.api_key, stack.api_secret).with_identity("agent").with_kind("agent")
        self._token = token.with_grants(grants).to_jwt()
        self._room = rtc.Room()
        self._source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=1000 if way == "queued" else 0)
        self._publication: rtc.LocalTrackPublication | None = None

    async def publish(self) -> None:
        """Connect and publish, with nothing subscribed to."""
        await self._room.connect(self._url, self._token, rtc.RoomOptions(auto_subscribe=False))
        track = rtc.LocalAudioTrack.create_audio_track("voice", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        self._publication = await self._room.local_participant.publish_track(track, options)

    async def speak(self) -> float:
        """Wait for the subscription, then play the tone; when it was told of it, on `time.monotonic()`."""
        if self._publication is None:
            raise RuntimeError("nothing is published")
        await self._publication.wait_for_subscription()
        subscribed = time.monotonic()
        if self._way == "queued":
            await self._source.capture_frame(rtc.AudioFrame(TONE.tobytes(), SAMPLE_RATE, 1, len(TONE)))
            return subscribed
        for number, first in enumerate(range(0, len(TONE), CHUNK)):
            await asyncio.sleep(subscribed + number * 0.01 - LEAD_S - time.monotonic())
            chunk = TONE[first : first + CHUNK]
            await self._source.capture_frame(rtc.AudioFrame(chunk.tobytes(), SAMPLE_RATE, 1, CHUNK))
        return subscribed

    async def leave(self) -> None:
        """Out of the room, and the source closed."""
        await self._room.disconnect()
        await self._source.aclose()


async def call(stack: Stack, way: str, dispatch: Dispatch) -> Heard:
    """One call in a room of its own."""
    room = f"first-packet-{secrets.token_hex(4)}"
    publisher = Publisher(stack, room, way)
    caller = RehearsalCaller(stack.livekit_url, join_token(stack, room=room, identity="caller"))
    try:
        called = time.monotonic()
        await (caller.connect() if dispatch is Dispatch.JOIN else publisher.publish())
        await asyncio.sleep(SETTLED_S)
        began = time.monotonic()
        if dispatch is Dispatch.JOIN:
            await publisher.publish()
            subscribed, heard = await asyncio.gather(publisher.speak(), caller.hear(PATIENCE_S))
        else:
            called = began
            subscribed, _ = await asyncio.gather(publisher.speak(), caller.connect())
            heard = await caller.hear(PATIENCE_S)
    finally:
        await asyncio.gather(caller.leave(), publisher.leave())
    return Heard(called + heard - subscribed, called + heard - began)


async def measure(calls: int) -> dict[tuple[Dispatch, str], list[Heard]]:
    """The calls of each way, in turn."""
    found: dict[tuple[Dispatch, str], list[Heard]] = {
        cell: [] for cell in itertools.product((Dispatch.JOIN, Dispatch.AHEAD), WAYS)
    }
    with tempfile.TemporaryDirectory() as folder:
        async with LocalStack(Path(folder)) as stack:
            for _ in track(range(calls), "calls of each way", console=Console(stderr=True)):
                for (dispatch, way), heard in found.items():
                    heard.append(await call(stack, way, dispatch))
    return found


def table(found: dict[tuple[Dispatch, str], list[Heard]]) -> str:
    """In milliseconds: the median, and the quartiles."""
    rows = ["| dispatch | source | subscription to ear, ms | connect to ear, ms |", "|---|---|---:|---:|"]
    for (dispatch, way), heard in found.items():
        cells = (_spread([h.since_subscription for h in heard]), _spread([h.since_connect for h in heard]))
        rows.append(f"| {dispatch} | {way} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _spread(seconds: list[float]) -> str:
    low, middle, high = np.quantile(np.asarray(seconds) * 1e3, [0.25, 0.5, 0.75])
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20, help="of each way (20)")
    args = parser.parse_args()
    print(table(asyncio.run(measure(args.calls))))


if __name__ == "__main__":
    main()

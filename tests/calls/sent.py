"""What an agent sends, sample by sample: written down in its process where it goes into LiveKit's client, read in the tests.

Between `recording_worker`, which switches it on, and `workers`. What arrives depends on whatever else the machine does; this
does not.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import get_job_context
from numpy.typing import NDArray

Samples = NDArray[np.int16]

FOLDER = "FIRSTWORD_TESTS_SENT"
"""The variable that names the folder: a file for each room."""
VOICE_TRACK = "roomio_audio"
"""LiveKit's name for the track that the agent speaks on; background audio has one of its own."""


@cache
def record() -> None:
    """From now on this process writes down what goes into the tracks that its agents speak on; once, however many jobs it has."""
    folder = Path(os.environ[FOLDER])
    make_track = rtc.LocalAudioTrack.create_audio_track
    capture, clear = rtc.AudioSource.capture_frame, rtc.AudioSource.clear_queue
    tracks: dict[int, str] = {}

    def create_audio_track(name: str, source: Any) -> rtc.LocalAudioTrack:
        tracks[id(source)] = name
        return make_track(name, source)

    async def capture_frame(self: rtc.AudioSource, frame: rtc.AudioFrame) -> None:
        note(self, base64.b64encode(frame.data).decode())
        await capture(self, frame)

    def clear_queue(self: rtc.AudioSource) -> None:
        note(self, "")
        clear(self)

    def note(source: rtc.AudioSource, frame: str) -> None:
        if tracks.get(id(source)) == VOICE_TRACK:
            with (folder / get_job_context().room.name).open("a") as file:
                file.write(f"{id(source)} {frame}\n")

    rtc.LocalAudioTrack.create_audio_track = create_audio_track
    rtc.AudioSource.capture_frame = capture_frame
    rtc.AudioSource.clear_queue = clear_queue


def takes(folder: Path, room: str) -> list[Samples]:
    """What an agent has said in a room, in order: a new take begins where its queue was dropped, and with another track."""
    file = folder / room
    written = file.read_text() if file.exists() else ""
    found: list[list[bytes]] = [[]]
    speaking = None
    for line in written[: written.rfind("\n") + 1].splitlines():
        source, frame = line.split(" ")
        if not frame or source != speaking:
            speaking = source
            found.append([])
        found[-1].append(base64.b64decode(frame))
    return [np.frombuffer(samples, np.int16) for take in found if (samples := b"".join(take))]


def whole(speech: Samples) -> Callable[[Samples], bool]:
    """Whether a take is this speech, sample by sample, with no more than silence after it."""
    return lambda take: np.array_equal(take[: len(speech)], speech) and not take[len(speech) :].any()


def ends_with(speech: Samples) -> Callable[[Samples], bool]:
    """Whether the last that was said in a take is this speech, sample by sample."""
    return lambda take: np.array_equal(
        np.trim_zeros(take, "b")[-len(np.trim_zeros(speech, "b")) :], np.trim_zeros(speech, "b")
    )


def begun(speech: Samples) -> Callable[[Samples], bool]:
    """Whether a take is this speech from its first sample on, and breaks off before its end."""
    return lambda take: len(take) < len(speech) and np.array_equal(take, speech[: len(take)])


def joined(first: Samples, second: Samples, *, joint: int) -> Callable[[Samples], bool]:
    """Whether a take is one speech after the other, sample by sample but for the last and the first `joint` samples where they meet."""
    head, tail = first[:-joint], np.trim_zeros(second, "b")[joint:]

    def are_joined(take: Samples) -> bool:
        sound = np.trim_zeros(take, "b")
        return (
            np.array_equal(sound[: len(head)], head)
            and np.array_equal(sound[len(sound) - len(tail) :], tail)
            and 0 <= len(sound) - len(head) - len(tail) <= 2 * joint
        )

    return are_joined

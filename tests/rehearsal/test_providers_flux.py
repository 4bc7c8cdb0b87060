"""The simulated Flux as LiveKit's own plugin sees it: turn after turn, each with its words."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

from livekit import rtc
from livekit.agents import stt
from livekit.plugins import deepgram

from tests.rehearsal.quick_simulators import ONCE, PATIENCE, RATE, quick_simulators, two_sentences


async def test_the_ear_hears_two_turns(tmp_path: Path) -> None:
    """Each begins, grows, and ends with its words; what is set meanwhile is taken."""
    sound = two_sentences()
    heard: list[tuple[str, str]] = []
    async with quick_simulators(tmp_path) as addresses, asyncio.timeout(PATIENCE):
        ear = deepgram.STTv2(base_url=addresses.flux, api_key="x")
        async with aclosing(ear), ear.stream(conn_options=ONCE) as stream:
            stream.push_frame(rtc.AudioFrame(sound.tobytes(), RATE, 1, len(sound)))
            async for event in stream:
                if event.type is stt.SpeechEventType.RECOGNITION_USAGE:
                    continue
                heard.append((event.type.value, event.alternatives[0].text if event.alternatives else ""))
                if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                    ear.update_options(eot_threshold=0.8)
                if [kind for kind, _ in heard].count("end_of_speech") == 2:
                    break
    ends = [at for at, (kind, _) in enumerate(heard) if kind == "end_of_speech"]
    for turn, words in zip((heard[: ends[0] + 1], heard[ends[0] + 1 :]), ("hello", "what time is it"), strict=True):
        assert turn[0] == ("start_of_speech", "")
        assert turn[-2:] == [("final_transcript", words), ("end_of_speech", "")]
        interims = [text for kind, text in turn if kind == "interim_transcript"]
        assert interims
        assert all(words.startswith(text) for text in interims)

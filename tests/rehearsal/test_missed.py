"""firstword.rehearsal.missed: what a caller missed of a greeting, however it came about, and of the floor's tone."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from livekit.agents.voice import background_audio

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import GENERIC, Account
from firstword.agent.audio.refusals import Refusals
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.audio.splice import samples_of
from firstword.agent.audio.synthesis import synthesis
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.text import greeting_text, opening_of, rest_of
from firstword.rehearsal.alignment import Samples
from firstword.rehearsal.callers import BACKGROUND, EAR_RATE
from firstword.rehearsal.missed import missed_of_greeting, missed_of_tone, streamed
from firstword.rehearsal.providers.voice import duration, speech
from firstword.rehearsal.result import Missed, Missing
from firstword.rehearsal.tone import TONE
from tests.agent.providers import simulated

ADA = ACCOUNTS[0]
NOON = 1_790_000_000.0
WRITTEN = greeting_text(ADA, NOON)
OPENING = opening_of(ADA, WRITTEN) or ""
REST = rest_of(WRITTEN, OPENING)
SENTENCES = [f"{WRITTEN.text.partition('! ')[0]}!", WRITTEN.text.partition("! ")[2]]
WINDOW_MS = 20


def spoken(*texts: str) -> Samples:
    return np.concatenate([speech(text, EAR_RATE) for text in texts])


def shipped() -> Samples:
    with wave.open(str(Path(greetings.__file__).parent / "sounds" / "hello.wav")) as file:
        return np.repeat(np.frombuffer(file.readframes(file.getnframes()), np.int16), EAR_RATE // file.getframerate())


def missed(heard: Samples, account: Account = ADA) -> Missing:
    """With silence around it, as a room has."""
    silence = np.zeros(EAR_RATE // 2, np.int16)
    return missed_of_greeting(account, NOON, np.concatenate([silence, heard, silence]))


@pytest.mark.parametrize(
    ("account", "heard"),
    [
        (ADA, spoken(WRITTEN.text)),
        (ADA, spoken(*SENTENCES)),
        (ADA, spoken(OPENING, REST)),
        (ADA, shipped()),
        (ADA, np.concatenate([spoken(OPENING), shipped()])),
        (GENERIC, spoken(GENERIC.greeting)),
    ],
    ids=["made ahead", "by sentence", "joined", "shipped", "shipped after the opening", "generic"],
)
def test_nothing_is_missing_of_a_greeting_that_was_heard_whole(account: Account, heard: Samples) -> None:
    """However it was made: the caller of a provider that is down heard the greeting that stands in for theirs."""
    assert missed(heard, account) == Missing(0, 0, 0)


@pytest.mark.parametrize("texts", [(WRITTEN.text,), (OPENING, REST)], ids=["made ahead", "joined"])
def test_what_is_missing_is_told_by_its_place(texts: tuple[str, ...]) -> None:
    """An ear that opens late misses the beginning, a transport that starves the middle, a caller who is hung up on the end."""
    whole = spoken(*texts)
    lost, at = round(0.7 * EAR_RATE), round(1.5 * EAR_RATE)
    for heard, where in (
        (whole[lost:], "beginning_ms"),
        (np.concatenate([whole[:at], whole[at + lost :]]), "middle_ms"),
        (whole[:-lost], "end_ms"),
    ):
        found = missed(heard)
        assert getattr(found, where) == pytest.approx(700, abs=2 * WINDOW_MS)
        assert found.total_ms == pytest.approx(700, abs=3 * WINDOW_MS)


def test_all_is_missing_of_what_was_not_said() -> None:
    """Something else is no greeting."""
    noise = np.random.default_rng(1).integers(-8_000, 8_000, 3 * EAR_RATE).astype(np.int16)
    assert missed(noise).total_ms == pytest.approx(1e3 * duration(WRITTEN.text), abs=WINDOW_MS)


def test_the_floors_tone_has_a_beginning_and_an_end() -> None:
    """One that never changed would hide which of it is missing."""
    whole = np.repeat(np.array(TONE, np.int16), 2)
    assert missed_of_tone(whole) == Missing(0, 0, 0)
    lost = round(0.3 * EAR_RATE)
    assert missed_of_tone(whole[lost:]) == Missing(pytest.approx(300, abs=WINDOW_MS), 0, 0)  # pyright: ignore[reportArgumentType]
    assert missed_of_tone(whole[:-lost]) == Missing(0, 0, pytest.approx(300, abs=WINDOW_MS))  # pyright: ignore[reportArgumentType]
    assert missed_of_tone(np.zeros(0, np.int16)).beginning_ms == 1000


def test_a_profiles_figures_are_the_most_that_one_caller_missed() -> None:
    """Of each place by itself; who missed nothing is not counted."""
    assert Missed.of([]) is None
    assert Missed.of([Missing(0, 0, 0)]) == Missed(0, 0, 0, 0)
    assert Missed.of([Missing(0, 0, 0), Missing(700, 20, 0), Missing(60, 0, 40)]) == Missed(2, 700, 20, 40)


def test_background_audio_has_the_name_that_livekit_gives_it() -> None:
    """An upgrade that moves it would let a quiet room count as a first word."""
    assert background_audio._TRACK_NAME == BACKGROUND  # pyright: ignore[reportPrivateUsage]  # there is no public name


async def test_what_is_streamed_is_known_sample_by_sample(tmp_path: Path) -> None:
    """In every language and script, as LiveKit's own plugin streams it: a guess of where it cuts a text is a greeting that was missed."""
    texts = [account.greeting.format(salutation="Hi", name=account.name) for account in (GENERIC, *ACCOUNTS)]
    texts += [
        "Guten Tag! Sie sprechen mit Dr. Ada, Tel. 1.5.",
        "नमस्ते, अदा। मैं कैसे मदद करूँ?",
        "Hello",
        "你好！有什么可以帮您",
    ]
    async with simulated(tmp_path) as settings:
        speaker = synthesis(settings, Refusals(None))
        for text in texts:
            async with speaker.tts.stream() as stream:
                stream.push_text(text)
                stream.end_input()
                said = samples_of([part.frame async for part in stream], SAMPLE_RATE)
            expected = streamed(text)
            assert np.array_equal(said[: len(expected)], expected), text
            assert not said[len(expected) :].any(), text
        await speaker.aclose()

"""Finds what a caller missed of the greeting: compares what their ear got with what there was to say.

Computed once the session is over (`alignment.py` takes a second of a core for ten seconds of sound). The simulated
voice says a text the same each time; that is the reference. What the agent wrote down of itself would cost it CPU while
somebody waits.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from livekit.agents.tokenize.basic import WordTokenizer

from firstword.agent.accounts.model import GreetingFields
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.greeting import greeting as greetings
from firstword.agent.greeting.text import greeting_text, opening_of, rest_of
from firstword.rehearsal import tone
from firstword.rehearsal.alignment import WINDOW, Alignment, Samples, align
from firstword.rehearsal.callers import EAR_RATE
from firstword.rehearsal.providers import voice
from firstword.rehearsal.result import Missing

_PRECISION = 2 * WINDOW
"""Seconds: a window at each end may be told wrong, also of what was heard whole."""


def missed_of_greeting(account: GreetingFields, began: float, heard: Samples) -> Missing:
    """Returns what of the account's greeting is missing in what was heard.

    began: when the session began, Unix time in seconds. heard: mono samples at `EAR_RATE` Hz.
    A greeting can be spoken in several ways, and the shipped one may stand in its place or follow its opening. The way
    of which most was heard counts.
    """
    found: list[Alignment] = []
    for said in _ways(account, began):
        found.append(align(said, SAMPLE_RATE, heard, EAR_RATE))
        if found[-1].missing <= _PRECISION:
            break
    return _missing(max(found, key=lambda each: each.sent - each.missing))


def missed_of_tone(heard: Samples) -> Missing:
    """Returns what of the floor's tone is missing in what was heard, mono samples at `EAR_RATE` Hz."""
    return _missing(align(np.array(tone.TONE, np.int16), tone.SAMPLE_RATE, heard, EAR_RATE))


def _missing(found: Alignment) -> Missing:
    if found.missing <= _PRECISION:
        return Missing(0, 0, 0)
    return Missing(*(round(1e3 * seconds) for seconds in (found.beginning, found.middle, found.end)))


def _ways(account: GreetingFields, began: float) -> Iterator[Samples]:
    """In which ways a greeting is spoken, the usual ones first."""
    written = greeting_text(account, began)
    opening = opening_of(account, written)
    yield _spoken(written.text)
    yield streamed(written.text)
    if opening is not None:
        yield np.concatenate([_spoken(opening), _spoken(rest_of(written, opening))])
    yield _shipped()
    if opening is not None:
        yield np.concatenate([_spoken(opening), _shipped()])


def streamed(text: str) -> Samples:
    """Returns the sound of a text that LiveKit's session has spoken by the simulated voice: LiveKit's plugin sends it word by word."""
    sentences = [""]
    for word in WordTokenizer(ignore_punctuation=False).tokenize(text):
        sentences[-1] += f"{word} "
        if voice.ends_sentence(sentences[-1]):
            sentences.append("")
    return np.concatenate([_spoken(sentence) for sentence in sentences])


def _spoken(text: str) -> Samples:
    return voice.speech(text, SAMPLE_RATE)


@cache
def _shipped() -> Samples:
    with wave.open(str(Path(greetings.__file__).parent / "sounds" / "hello.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)

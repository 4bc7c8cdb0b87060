"""What an agent has to say, sample by sample, where its TTS is the simulated one."""

from __future__ import annotations

import time
from collections.abc import Callable

from firstword.agent.accounts.model import Account
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.greeting.text import greeting_text, opening_of, rest_of
from firstword.rehearsal.missed import streamed
from firstword.rehearsal.providers import voice
from tests.calls.sent import Samples, joined, whole

JOINT = SAMPLE_RATE // 50
"""Samples at the end of an opening, and at the beginning of what follows it, that are faded and laid over each other: 20 ms."""


def speech(text: str) -> Samples:
    """The text as the TTS speaks it in one go."""
    return voice.speech(text, SAMPLE_RATE)


def in_one_go(account: Account) -> Samples:
    """The account's greeting as it is made ahead, or synthesised where there is no opening."""
    return speech(greeting_text(account, time.time()).text)


def by_sentence(account: Account) -> Samples:
    """The account's greeting as LiveKit's session has it spoken, sentence by sentence."""
    return streamed(greeting_text(account, time.time()).text)


def after_its_opening(account: Account) -> Callable[[Samples], bool]:
    """Whether a take is a cached opening, and joined to it the rest of the account's greeting, synthesised meanwhile."""
    written = greeting_text(account, time.time())
    opening = opening_of(account, written)
    assert opening is not None
    return joined(speech(opening), speech(rest_of(written, opening)), joint=JOINT)


def greeting_of(account: Account) -> Callable[[Samples], bool]:
    """Whether a take is the account's greeting, however it came about."""
    ways = (whole(in_one_go(account)), whole(by_sentence(account)), after_its_opening(account))
    return lambda take: any(way(take) for way in ways)

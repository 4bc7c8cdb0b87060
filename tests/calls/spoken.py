"""What an agent has to say, sample by sample, where its TTS is the simulated one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import Account
from firstword.agent.audio.speaking import SAMPLE_RATE
from firstword.agent.greeting.text import GreetingText, greeting_text, opening_of, rest_of
from firstword.rehearsal.missed import streamed
from firstword.rehearsal.providers import voice
from tests.calls.sent import Samples, joined, whole
from tests.calls.waiting import PATIENCE

JOINT = SAMPLE_RATE // 50
"""Samples at the end of an opening, and at the beginning of what follows it, that are faded and laid over each other: 20 ms."""
LONGEST_CALL = 2 * PATIENCE
"""Seconds: no call of a test began longer ago."""


def speech(text: str) -> Samples:
    """The text as the TTS speaks it in one go."""
    return voice.speech(text, SAMPLE_RATE)


def in_the_same_part_of_the_day() -> Account:
    """An example account whose greeting is the same throughout a call that begins now.

    Greetings are made ahead for the next minute. On a busy machine a round may be later than that, and noon may pass.
    """
    now = time.time()
    for account in ACCOUNTS:
        if len({greeting_text(account, now + seconds) for seconds in (-LONGEST_CALL, 0.0, LONGEST_CALL)}) == 1:
            return account
    raise AssertionError("expected an account in whose time zone no part of the day ends; they are in six")


def in_one_go(account: Account) -> Callable[[Samples], bool]:
    """Whether a take is the account's greeting as it is made ahead, or synthesised where there is no opening."""
    return _any(whole(speech(written.text)) for written in _written(account))


def after_its_opening(account: Account) -> Callable[[Samples], bool]:
    """Whether a take is a cached opening, and joined to it the rest of the account's greeting, synthesised meanwhile."""
    return _any(_after_the_opening_of(account, written) for written in _written(account))


def greeting_of(account: Account) -> Callable[[Samples], bool]:
    """Whether a take is the account's greeting, however it came about."""
    # as LiveKit's session has it spoken, sentence by sentence
    by_sentence = _any(whole(streamed(written.text)) for written in _written(account))
    return _any((in_one_go(account), by_sentence, after_its_opening(account)))


def _written(account: Account) -> list[GreetingText]:
    """What the account may be greeted with in a call that goes on: the hour may have changed since it began."""
    now = time.time()
    began, now_written = (greeting_text(account, at) for at in (now - LONGEST_CALL, now))
    return [now_written] if began == now_written else [began, now_written]


def _after_the_opening_of(account: Account, written: GreetingText) -> Callable[[Samples], bool]:
    opening = opening_of(account, written)
    assert opening is not None
    return joined(speech(opening), speech(rest_of(written, opening)), joint=JOINT)


def _any(ways: Iterable[Callable[[Samples], bool]]) -> Callable[[Samples], bool]:
    each = tuple(ways)
    return lambda take: any(way(take) for way in each)

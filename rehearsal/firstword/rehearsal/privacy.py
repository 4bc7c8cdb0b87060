"""Searches exported data for private words: who the example accounts are, what they and their callers say, and keys.

Beside `callers`, for the tests of the real worker and for `benchmarks/exactness.py`: both search all that was exported.
"""

from __future__ import annotations

import json
import re

from firstword.agent.accounts.examples import ACCOUNTS, LAST_SESSIONS
from firstword.agent.greeting.text import generic_greeting
from firstword.rehearsal.providers.hearing import SENTENCES
from firstword.rehearsal.stack import Stack

PHONE = "+4930901820455"
"""A telephone number that nobody has."""

_TOOL_RESULT = re.compile(r"\d\d:\d\d on [A-Z][a-z]+day, \d\d [A-Z][a-z]+ \d{4}")
"""What the tool `current_time` answers."""


def private_in(exported: bytes, stack: Stack) -> list[str]:
    """Returns the private words that these OTLP JSON lines hold anywhere: of accounts, conversations, tools, keys and tokens."""
    # as text and not as JSON: the lines escape what isn't ASCII, and a value may be JSON again
    text = "\n".join(json.dumps(json.loads(line), ensure_ascii=False) for line in exported.splitlines())
    found = [word for word in sorted(_words(stack)) if word in text]
    return found + _TOOL_RESULT.findall(text)


def _words(stack: Stack) -> set[str]:
    words = {PHONE, PHONE.removeprefix("+"), stack.api_key, stack.api_secret, "simulated", "Bearer ", "eyJ"}
    words.update(sentence for sentence in SENTENCES.values() if " " in sentence)
    words.update(("You said: ", "The answer is: "))
    for account in ACCOUNTS:
        words.update((account.name, account.name.split()[0], f'"{account.id}"', account.instructions))
        words.add(generic_greeting(account.language))
        words.update(account.knowledge)
        # between the fields: "How can I help you today?"
        words.add(max(re.split(r"\{\w+\}", account.greeting), key=len).strip(" ,.!"))
    for last in LAST_SESSIONS.values():
        words.add(last.summary)
    return words

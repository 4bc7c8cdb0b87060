"""How names and numbers are written for people: the one place that makes foreign text harmless.

Below all that prints or draws. A name comes from a trace, and a trace from anybody: it may hold what moves a terminal's cursor,
sets its title, or forges a line.
"""

from __future__ import annotations


def shown(text: str) -> str:
    """The text on one line, as nobody can take for anything else: what is not printable is escaped, as `\\x1b`.

    Control characters, line breaks, lone surrogates, and what turns the direction of writing are not printable.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def amount(count: int, noun: str, nouns: str | None = None) -> str:
    """`1 file`, `2 files`, `1,000 files`; nouns: the plural, where it has no simple s."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")

"""Writes names and numbers for people: the one place that makes foreign text harmless.

Below all that prints or draws. A name comes from a trace, and a trace from anybody. It may hold what moves a terminal's
cursor, sets its title, or forges a line.
"""

from __future__ import annotations

from datetime import UTC, datetime


def shown(text: str) -> str:
    r"""Returns the text on one line, as nobody can take for anything else: what is not printable is escaped, as `\x1b`.

    Control characters, line breaks, lone surrogates, and what turns the direction of writing are not printable.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def short_name(function: str) -> str:
    """Returns a qualified name without the functions in which it is defined: `A.run.<locals>.read` becomes `A.read`."""
    *outer, own = function.split(".<locals>.")
    return ".".join([*(name.rpartition(".")[0] for name in outer if "." in name), own])


def amount(count: int, noun: str, nouns: str | None = None) -> str:
    """Returns a number with its noun: `1 file`, `2 files`, `1,000 files`.

    nouns: the plural, where it has no simple s.
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def agree(count: int, one: str, many: str) -> str:
    """Returns `one` where `count` is 1, else `many`; for words such as `has` and `have`."""
    return one if count == 1 else many


def date(unix_ns: int) -> str:
    """Returns an instant in the reader's time zone, as `--since` takes it: `2026-11-29 14:03:07 CET`."""
    return f"{datetime.fromtimestamp(unix_ns / 1e9, UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def iso_date(unix_ns: int) -> str:
    """Returns an instant in UTC, for programs: `2026-11-29T13:03:07.123456Z`."""
    whole, micros = divmod(unix_ns // 1000, 1_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")

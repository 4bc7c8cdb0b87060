"""Takes parsed JSON apart without trusting its shape; shared by the readers of trace formats."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, cast

Object = Mapping[str, Any]

TRACE_ID_DIGITS, SPAN_ID_DIGITS = 32, 16
_LATEST_NS = 2**63
"""The year 2262: an instant past it is a mistake."""
_LEAST_INTEGER, _MOST_INTEGER = -(2**63), 2**63 - 1
_HEX = re.compile(r"[0-9a-fA-F]+")
_BASE64_LENGTHS = frozenset({11, 12, 22, 24})
"""Of 8 and 16 bytes, without and with `=`. No id in hex has so many digits."""
_TO_STANDARD = str.maketrans("-_", "+/", "=")
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


class Malformed(ValueError):
    """Raised for a part of a document that isn't what its format says; the message says what was found."""


def as_object(value: object) -> Object:
    """Returns the value if it is a JSON object; an empty one for null. Raises Malformed."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise Malformed(f"{_kind(value)} in place of an object")


def as_list(value: object) -> list[Any]:
    """Returns the value if it is a JSON array; an empty one for null. Raises Malformed."""
    if value is None:
        return []
    if isinstance(value, list):
        return cast("list[Any]", value)
    raise Malformed(f"{_kind(value)} in place of a list")


def member(parent: Object, key: str) -> Any:
    """Returns what `parent` has under `key`, or under its name in protobuf (`trace_id` for `traceId`); None where absent."""
    value = parent.get(key)
    return parent.get(_in_protobuf(key)) if value is None else value


def has(parent: Object, key: str) -> bool:
    """Returns whether `parent` has the key, or its name in protobuf, even with null."""
    return key in parent or _in_protobuf(key) in parent


def objects(parent: Object, key: str, report: Callable[[str], None]) -> Iterator[Object]:
    """Yields the objects in the list that `parent` has under `key`. Reports and passes over anything else there."""
    try:
        items = as_list(member(parent, key))
    except Malformed as error:
        report(f"`{key}` is {error}")
        return
    for item in items:
        try:
            yield as_object(item)
        except Malformed as error:
            report(f"`{key}` has {error}")


def text(parent: Object, key: str) -> str:
    """Returns the string under `key`; empty where it is absent. Raises Malformed."""
    value = member(parent, key)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise Malformed(f"`{key}` is {_kind(value)} in place of text")


def identifier(parent: Object, key: str, digits: int, *, base64: bool = False) -> str:
    """Returns the id under `key` as `digits` digits of lower-case hex; empty where it is absent or all zeros. Raises
    Malformed.

    Ids are numbers: one that is written without its leading zeros is the same.
    base64: the id may be in base64, as protobuf's own JSON has it; told from hex by its length.
    """
    value = text(parent, key)
    if not value:
        return ""
    written = value
    if base64 and len(value) in _BASE64_LENGTHS:
        written = _hex_of_base64(value)
    if len(written) > digits or not _HEX.fullmatch(written):
        raise Malformed(f"`{key}` is {value!r:.60}")
    return written.lower().zfill(digits) if written.strip("0") else ""


def same_trace(one: str, other: str) -> bool:
    """Returns whether two trace ids, of 32 digits, mean one trace: they are equal, or one has the low 64 bits alone."""
    if one == other:
        return True
    return one[16:] == other[16:] and not (one[:16].strip("0") and other[:16].strip("0"))


def instant(parent: Object, key: str, unit_ns: int = 1) -> int | None:
    """Returns the time or duration under `key`, a number or a string of digits, in ns; None where absent. Raises
    Malformed.

    unit_ns: how many ns one unit of the number is.
    """
    value = member(parent, key)
    if value is None:
        return None
    number = _whole(value)
    if number is None or not -_LATEST_NS < number * unit_ns < _LATEST_NS:
        raise Malformed(f"`{key}` is {value!r:.60}")
    return number * unit_ns


def integer(value: object) -> int | None:
    """Returns a 64-bit integer from a number or a string of digits; None for anything else."""
    number = _whole(value)
    return number if number is not None and _LEAST_INTEGER <= number <= _MOST_INTEGER else None


def double(value: object) -> float | None:
    """Returns a float from a number or its text (`NaN` and `Infinity` among them); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        # through int where it is one: a float has not enough digits for nanoseconds
        return int(value) if isinstance(value, int | str) else int(float(value))
    except (ValueError, OverflowError):
        return None


def _hex_of_base64(value: str) -> str:
    """Empty where it is not base64."""
    standard = value.translate(_TO_STANDARD)
    try:
        return b64decode(standard + "=" * (-len(standard) % 4), validate=True).hex()
    except ValueError:
        return ""


@cache
def _in_protobuf(key: str) -> str:
    return _CAPITAL.sub(r"_\1", key).lower()


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        ((int, float), "a number"),
        (str, "text"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "nothing")

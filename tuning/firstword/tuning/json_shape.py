"""Takes parsed JSON apart without trusting its shape; shared by the readers of trace formats."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

Object = Mapping[str, Any]

_LATEST_NS = 2**63
"""The year 2262: an instant past it is a mistake."""


class Malformed(ValueError):
    """A part of a document that isn't what its format says; the message says what was found."""


def as_object(value: object) -> Object:
    """The value, if it is a JSON object; an empty one for null. Raises Malformed."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise Malformed(f"{_kind(value)} in place of an object")


def as_list(value: object) -> list[Any]:
    """The value, if it is a JSON array; an empty one for null. Raises Malformed."""
    if value is None:
        return []
    if isinstance(value, list):
        return cast("list[Any]", value)
    raise Malformed(f"{_kind(value)} in place of a list")


def objects(parent: Object, key: str, report: Callable[[str], None]) -> Iterator[Object]:
    """The objects in the list that `parent` has under `key`; anything else there is reported and passed over."""
    try:
        items = as_list(parent.get(key))
    except Malformed as error:
        report(f"`{key}` is {error}")
        return
    for item in items:
        try:
            yield as_object(item)
        except Malformed as error:
            report(f"`{key}` has {error}")


def text(parent: Object, key: str) -> str:
    """The string under `key`; empty where it is absent. Raises Malformed."""
    value = parent.get(key)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise Malformed(f"`{key}` is {_kind(value)} in place of text")


def identifier(parent: Object, key: str) -> str:
    """The id under `key` in lower-case hex, from hex or base64; empty where it is absent or all zeros. Raises Malformed."""
    value = text(parent, key)
    if value.endswith("="):
        try:
            value = b64decode(value, validate=True).hex()
        except ValueError:
            raise Malformed(f"`{key}` is {value!r:.60}") from None
    return value.lower() if value.strip("0") else ""


def instant(parent: Object, key: str, unit_ns: int = 1) -> int | None:
    """The time or duration under `key`, a number or a string of digits, in ns; None where absent. Raises Malformed."""
    value = parent.get(key)
    if value is None:
        return None
    try:
        # through int where it is one: a float has not enough digits for nanoseconds
        number = value if isinstance(value, int) else int(value) if isinstance(value, str) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        raise Malformed(f"`{key}` is {value!r:.60}") from None
    if isinstance(value, bool) or not -_LATEST_NS < number * unit_ns < _LATEST_NS:
        raise Malformed(f"`{key}` is {value!r:.60}")
    return number * unit_ns


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

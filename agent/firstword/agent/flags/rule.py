"""Checks one flag's rule as flagd evaluates it: whether it works for every session, and which share of them gets the
flag.

Below `firstword.agent.flags.flag_file`. If flagd cannot read a share, it falls back to the default variant without a
word. So a rule is tried here before any session depends on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from json_logic import jsonLogic  # flagd's own evaluator, which it requires
from openfeature.contrib.tools.flagd.core.targeting import custom_ops
from openfeature.contrib.tools.flagd.core.targeting.targeting import (
    OPERATORS,  # pyright: ignore[reportUnknownVariableType]  # flagd leaves its dicts without types
)

from firstword.agent.flags.improvements import Subject
from firstword.agent.flags.json_text import Object, kind, shown

_EVALUATED = cast("Callable[..., object]", jsonLogic)
_OPERATIONS = cast("dict[str, Any]", OPERATORS)
_FRACTIONAL = cast("Callable[..., Any]", custom_ops.fractional)
_LARGEST_TOTAL = custom_ops.MAX_WEIGHT_SUM
_DEEPEST = 50
_LARGEST = 10_000
"""Parts of a rule with its shared rules in place."""
_BRANCHING = frozenset({"if", "?:", "and", "or", "filter", "reduce", "map", "all", "some", "none"})
"""Operations that json_logic knows by itself; flagd adds its own to the others."""

# At each draw flagd logs what `check` has said once already.
logging.getLogger("openfeature.contrib").addFilter(lambda record: record.module != "custom_ops")


class RuleError(Exception):
    """Raised for a rule that would not do what it says. The message says what was expected, and a possible cause."""


def resolved(rule: Any, shared: Mapping[str, object]) -> Any:
    """Returns the rule with each `{"$ref": NAME}` replaced by the shared rule of that name. Raises RuleError."""
    left = _LARGEST

    def resolve(part: Any, depth: int) -> object:
        nonlocal left
        left -= 1
        if depth > _DEEPEST or left < 0:
            raise RuleError(
                f"expected a rule of {_LARGEST:,} parts, {_DEEPEST} levels deep, at most; possible cause: "
                "a shared rule that refers to itself"
            )
        match part:
            case {"$ref": name, **others} if not others:
                if not isinstance(name, str) or name not in shared:
                    raise RuleError(f"expected `$evaluators` to have {shown(name)}; possible cause: a misspelt name")
                return resolve(shared[name], depth + 1)
            case dict():
                entries = cast("dict[str, object]", part)
                return Object({key: resolve(each, depth + 1) for key, each in entries.items()})
            case list():
                return [resolve(each, depth + 1) for each in cast("list[object]", part)]
            case _:
                return part

    return resolve(rule, 0)


def check(rule: Any, name: str, subject: Subject, default: str | None) -> None:
    """Evaluates the rule of the flag `name` once for each kind of session, to find faults. Raises RuleError for the
    first one.

    default: the variant that flagd takes if the rule answers nothing.
    """
    if not isinstance(rule, dict):
        raise RuleError(f"expected `targeting` to be an object, found {kind(rule)}")
    for facts in _every_kind(name, subject):
        for operator, operand in _operations(rule):
            if operator not in _OPERATIONS and operator not in _BRANCHING:
                raise RuleError(
                    f"expected an operation that flagd has, found {shown(operator)}; possible cause: a misspelt name"
                )
            if operator == "fractional":
                _check_shares(operand, facts)
        for answer in _answers(rule):
            _check_answer(answer)
        answer, undrawn = _evaluated(rule, facts)
        _check_answer(answer)
        if undrawn and default == "on":
            who = "sessions without an account" if subject == "session" else "processes"
            raise RuleError(
                f"expected `defaultVariant` off, since {who} cannot draw this share and get the default; "
                "possible cause: a share by account"
            )


def share(rule: Any, name: str, subject: Subject) -> int | None:
    """Returns the whole percent of sessions for which a checked rule answers `on`. None if it is not a plain share of
    all sessions.

    It is 0 or 100 only if the share is exactly that.
    """
    match rule:
        case {"fractional": [*parts], **others} if not others:
            bucketing = [part for part in parts[:1] if not isinstance(part, list)]
            shares = cast("list[list[Any]]", parts[len(bucketing) :])
        case _:
            return None
    weights: dict[str, int] = {}
    for variant, *weight in shares:
        plain = isinstance(variant, str) and variant in ("on", "off") and variant not in weights
        if not plain or not all(isinstance(each, int) for each in weight):
            return None
        weights[variant] = max(0, weight[0]) if weight else 1
    if not weights or any(not _draws_apart(part, name, subject) for part in bucketing):
        return None
    on, off = weights.get("on", 0), weights.get("off", 0)
    return min(max(round(100 * on / (on + off)), 1 if on else 0), 99 if off else 100)


def by_account(rule: Any, name: str, subject: Subject) -> bool:
    """Returns whether some sessions cannot draw a share of this rule, because it is drawn by account and they have
    none.
    """
    return any(_evaluated(rule, facts)[1] for facts in _every_kind(name, subject))


def may_be_on(rule: Any) -> bool:
    """Returns whether the rule can answer `on` for some session. A share of 0 can't."""
    match rule:
        case dict():
            return any(map(may_be_on, cast("dict[str, object]", rule).values()))
        case ["on", 0]:
            return False
        case list():
            return any(map(may_be_on, cast("list[object]", rule)))
        case _:
            return rule == "on"


def _every_kind(name: str, subject: Subject, key: str = "key") -> list[dict[str, Any]]:
    """What flagd gives a rule to decide by, once for each kind of session there is."""
    facts = {"$flagd": {"flagKey": name, "timestamp": 0}, "targetingKey": key}
    if subject == "process":
        return [facts]
    return [{**facts, "room": key}, {**facts, "room": key, "account": key}]


def _draws_apart(bucketing: Any, name: str, subject: Subject) -> bool:
    """Whether two sessions without an account are drawn independently by this."""
    one, other = (_tried(bucketing, _every_kind(name, subject, key)[0], _FRACTIONAL) for key in ("one", "other"))
    return None not in (one, other) and one != other


def _evaluated(rule: Any, facts: Mapping[str, Any]) -> tuple[object, bool]:
    """What the rule answers, and whether it came upon a share that these facts don't suffice to draw."""
    undrawn = False

    def fractional(data: dict[str, Any], *parts: Any) -> Any:
        nonlocal undrawn
        undrawn = undrawn or (bool(parts) and parts[0] is None)
        return _FRACTIONAL(data, *parts)

    return _tried(rule, facts, fractional), undrawn


def _tried(rule: Any, facts: Mapping[str, Any], fractional: Callable[..., Any]) -> object:
    try:
        return _EVALUATED(rule, facts, {**_OPERATIONS, "fractional": fractional})
    except Exception as error:  # whatever an operation makes of its operands
        raise RuleError(
            f"expected a rule that flagd can evaluate; possible cause: {str(error)[:100] or type(error).__name__}"
        ) from None


def _operations(rule: Any) -> Iterator[tuple[str, object]]:
    """Each operation of a rule and what it is given; an object of several names is a value to json_logic."""
    if isinstance(rule, list):
        for part in cast("list[object]", rule):
            yield from _operations(part)
    elif isinstance(rule, dict):
        entries = cast("dict[str, object]", rule)
        if len(entries) == 1:
            yield from entries.items()
            yield from _operations(next(iter(entries.values())))


def _answers(rule: Any) -> Iterator[object]:
    """The answers that can be read off a rule: what stands at the end of its branches and in its shares."""
    match rule:
        case {"if": [*parts]} | {"?:": [*parts]} if len(parts) > 1:
            for part in (*parts[1::2], *(parts[-1:] if len(parts) % 2 else ())):
                yield from _answers(part)
        case {"fractional": [*parts]}:
            yield from (part[0] for part in parts if isinstance(part, list) and part and not isinstance(part[0], dict))
        case str() | int() | float():
            yield rule
        case _:
            pass


def _check_answer(answer: object) -> None:
    if answer not in ("on", "off", None):
        raise RuleError(f"expected a rule that answers on, off or null, found {shown(answer)}")


def _check_shares(operand: Any, facts: Mapping[str, Any]) -> None:
    parts = cast("list[object]", operand) if isinstance(operand, list) else [operand]
    values = [_tried(part, facts, _FRACTIONAL) for part in parts]
    shares = values if values and isinstance(values[0], list) else values[1:]
    if not shares:
        raise RuleError('expected `fractional` to have shares such as ["on", 25]')
    total = 0
    for share in cast("list[Any]", shares):
        match share:
            case [_]:
                total += 1
            case [_, int() as weight] if not isinstance(weight, bool):
                total += max(0, weight)
            case [_, float() as weight]:
                raise RuleError(
                    f"expected whole numbers in `fractional`, found {shown(weight)}; possible cause: parts of a percent "
                    '(for 2.5 % write ["on", 25] and ["off", 975])'
                )
            case [_, str() as weight]:
                raise RuleError(
                    f"expected whole numbers in `fractional`; possible cause: quotes around {shown(weight)}"
                )
            case _:
                raise RuleError(f'expected shares such as ["on", 25] in `fractional`, found {shown(share)}')
    if not 0 < total <= _LARGEST_TOTAL:
        raise RuleError(f"expected shares in `fractional` that add up to 1 to {_LARGEST_TOTAL}, found {total}")

"""What a good flag file is: flagd's format, held to what our flags are and to what flagd silently takes for something else.

Below `firstword.agent.flags.flag_source`, which finds and follows the file.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.contrib.tools.flagd.core.targeting import custom_ops
from openfeature.evaluation_context import EvaluationContext


class FlagFileError(Exception):
    """What is wrong with a flag file, in a few words without its path."""


@dataclass(frozen=True, slots=True)
class FlagSet:
    """A good file: flagd's evaluator of it, and the names of all its flags."""

    core: FlagdCore
    named: frozenset[str]
    possible: frozenset[str]
    """The checked ones that are on for somebody."""


def parse(content: bytes, names: Collection[str]) -> FlagSet:
    """Read a flag file; each rule is tried, with an account and without. Raises FlagFileError.

    names: the flags that are held to the variants `on` and `off`; others in the file may be anybody's.
    """
    where = "not a flagd file"
    try:
        document: dict[str, Any] = json.loads(content)
        flags: dict[str, Any] = document["flags"]
        found = frozenset(flags.keys())
        for where in sorted(found.intersection(names)):
            _check(flags[where])
        where = "flagd"
        _check_rule(document.get("$evaluators"))
        possible = frozenset(name for name in found.intersection(names) if _possible(flags[name]))
        core = FlagdCore()
        core.set_flags(document)  # which changes the document
        for where in sorted(found.intersection(names)):
            for facts in ({"room": "r"}, {"room": "r", "account": "a"}):
                core.resolve_boolean_value(where, False, EvaluationContext("k", facts))
        return FlagSet(core, found, possible)
    except FlagFileError as error:
        raise FlagFileError(f"{where}: {error}") from None
    except Exception as error:  # JSON's, of another shape, too deep, or whatever a rule's operands make flagd raise
        raise FlagFileError(
            f"{where}: {getattr(error, 'error_message', None) or f'{type(error).__name__}: {error}'}"
        ) from None


def _check(flag: Any) -> None:
    match flag:
        case {"state": "ENABLED" | "DISABLED", "variants": {"on": True, "off": False, **others}} if not others:
            pass
        case _:
            raise FlagFileError('"state": "ENABLED" or "DISABLED", "variants": {"on": true, "off": false} are expected')
    if flag.get("defaultVariant") not in ("on", "off", None):
        raise FlagFileError("`defaultVariant` may be on or off")
    _check_rule(flag.get("targeting"))


def _check_rule(rule: object) -> None:
    """Shares that flagd can't read would silently give everybody the default variant: 100 % instead of 2.5."""
    if isinstance(rule, list):
        for part in cast("list[object]", rule):
            _check_rule(part)
    elif isinstance(rule, dict):
        for operator, operand in cast("dict[str, Any]", rule).items():
            shares = cast("list[Any]", operand) if isinstance(operand, list) else [operand]
            if operator == "fractional" and custom_ops.fractional({"targetingKey": "k"}, *shares) is None:
                raise FlagFileError('`fractional` takes shares such as ["on", 25], in whole numbers')
            _check_rule(cast("object", operand))


def _possible(flag: dict[str, Any]) -> bool:
    if flag["state"] == "DISABLED":
        return False
    return _says_on(flag.get("targeting")) or flag.get("defaultVariant") == "on"


def _says_on(rule: object) -> bool:
    """Whether a rule may answer `on`; a share of 0 never does. A shared rule is not looked into: it may."""
    match rule:
        case dict():
            return any(
                operator == "$ref" or _says_on(operand) for operator, operand in cast("dict[str, object]", rule).items()
            )
        case ["on", 0]:
            return False
        case list():
            return any(_says_on(part) for part in cast("list[object]", rule))
        case _:
            return rule == "on"

"""Reads accounts from JSON, as `firstword account` takes them, and says in one line what is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import fields
from typing import Any, Final, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from firstword.agent.accounts.model import GENERIC, Account

_LISTS: Final = ("tools", "knowledge")
_REQUIRED: Final = ("id", "name")


class AccountJSONError(Exception):
    """Raised for JSON that makes no account. Its text is one line, and says which account and field."""


def accounts_of(text: str, tools: Collection[str] | None) -> list[Account]:
    """Returns the accounts of a JSON text: one object, or a list of them. Raises AccountJSONError.

    Fields that are left out have the values of the account of a caller whom nobody knows. tools: the names that an
    account may list; None: any.
    """
    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise AccountJSONError(f"expected JSON; possible cause: {error}") from None
    each = cast("list[object]", found) if isinstance(found, list) else [found]
    return [_account(one, number, tools) for number, one in enumerate(each, 1)]


def _account(found: object, number: int, tools: Collection[str] | None) -> Account:
    if not isinstance(found, dict):
        raise AccountJSONError(f"account {number}: expected an object, not {type(found).__name__}")
    given = cast("dict[str, Any]", found)
    names = [field.name for field in fields(Account)]
    if unknown := sorted(given.keys() - names):
        raise AccountJSONError(f"account {number}: {unknown[0]!r} is no field; expected {', '.join(names)}")
    for name in _REQUIRED:
        if not given.get(name):
            raise AccountJSONError(f"account {number}: {name!r} is missing")
    row: dict[str, Any] = {name: given.get(name, getattr(GENERIC, name)) for name in names}
    for name, value in row.items():
        if name in _LISTS:
            row[name] = _texts(value, f"account {number}: {name!r}")
        elif not isinstance(value, str):
            raise AccountJSONError(f"account {number}: {name!r} is {type(value).__name__}, expected a text")
    account = Account(**row)
    _check(account, number, tools)
    return account


def _texts(value: object, where: str) -> tuple[str, ...]:
    items = tuple(cast("Iterable[object]", value)) if type(value) in (list, tuple) else (None,)
    if not all(isinstance(item, str) for item in items):
        raise AccountJSONError(f"{where} is {type(value).__name__}, expected a list of texts")
    return tuple(cast("tuple[str, ...]", items))


def _check(account: Account, number: int, tools: Collection[str] | None) -> None:
    try:
        ZoneInfo(account.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        where = f"account {number}: 'time_zone' is {account.time_zone!r}"
        raise AccountJSONError(f"{where}, expected a name as Europe/Berlin") from None
    unknown = [] if tools is None else [name for name in account.tools if name not in tools]
    if unknown:
        where = f"account {number}: 'tools' has {unknown[0]!r}"
        raise AccountJSONError(f"{where}, expected of {', '.join(tools or ())}")

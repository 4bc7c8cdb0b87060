"""What the shipped worker wants of an account store. A store of your own is a subclass of `AccountStore`.

The shipped one is `firstword.agent.accounts.sql_store`. The tasks of a start set the deadlines.

    StoreError    with its `reason`: unreachable, locked, late, broken
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Sequence
from enum import StrEnum
from typing import Final, TypeVar

from firstword.agent.accounts.model import Account, GreetingFields, LastSession, SessionRow

STATEMENT_S: Final = 10.0
"""Seconds for one read or write, connecting included, whoever asks. A start's own deadline is shorter."""
T = TypeVar("T")


class StoreFailure(StrEnum):
    """The reasons why the account store could not serve, as a StoreError has them."""

    UNREACHABLE = "unreachable"
    """No connection: nobody there, refused for now, or lost."""
    LOCKED = "locked"
    """Somebody else held a lock for too long."""
    LATE = "late"
    """No answer within the deadline."""
    BROKEN = "broken"
    """It answered, but not with what we can use: wrong password, missing rights or tables, damaged file or row."""


class StoreError(Exception):
    """Raised when the store could not serve; `reason` says why. Its text holds no account data and no password."""

    def __init__(self, reason: StoreFailure, detail: str) -> None:
        self.reason: Final = reason
        super().__init__(f"account store {reason}: {detail}")


class AccountStore(ABC):
    """Reads accounts, and takes what is known of a session once it has begun or ended.

    `account` and `ids` must be there; the others have defaults that do without. Each object serves one event loop, the
    one that first uses it. Raise StoreError where the store could not serve; any other error counts as one.
    """

    @abstractmethod
    async def account(self, id: str) -> Account | None:
        """Returns the whole account of this id, or None if there is none. Raises StoreError."""

    @abstractmethod
    def ids(self) -> AsyncIterator[Sequence[str]]:
        """Yields the ids of all accounts, some at a time. What is cached of any other is deleted. Raises StoreError."""

    async def greeting_fields(self, id: str) -> GreetingFields | None:
        """Returns what the greeting needs of the account, or None if there is none. Worth a read of its own where a
        whole account is large. Raises StoreError.
        """
        return await self.account(id)

    async def common(self, limit: int) -> Sequence[str]:
        """Returns the ids of up to `limit` accounts that call most; their greetings are made ahead. Raises StoreError."""
        return ()

    async def tools(self) -> set[str]:
        """Returns the names of tools that accounts list, which the worker looks at when it starts. Raises StoreError."""
        return set()

    async def resumption(self, id: str) -> LastSession | None:
        """Returns the account's last session, or None if nothing is known of it. Raises StoreError."""
        return None

    async def save_last_session(self, id: str, last: LastSession) -> None:  # noqa: B027 - a store may do without
        """Writes what the account's next session resumes from. Raises StoreError."""

    async def record_session(self, session: SessionRow) -> None:  # noqa: B027 - a store may do without
        """Writes the session's row, in place of one with its id. Raises StoreError."""

    async def prepare(self) -> None:  # noqa: B027 - a store may do without
        """Does what must be done once on a machine before the first read. It may be called again. Raises StoreError."""

    async def aclose(self) -> None:  # noqa: B027 - a store may do without
        """Closes what was opened. The store is not used afterwards."""


class GuardedStore(AccountStore):
    """A store of somebody else's, whose every failure is a StoreError, and none takes longer than `STATEMENT_S`.

    Of an error that is none of ours only the type is told, since its text may hold an account.
    """

    def __init__(self, store: AccountStore) -> None:
        self._store: Final = store

    async def account(self, id: str) -> Account | None:
        """As the store has it. Raises StoreError, also for a value of another type."""
        return _checked(await _guarded(self._store.account(id)), Account)

    async def ids(self) -> AsyncIterator[Sequence[str]]:
        """As the store has them. Raises StoreError."""
        pages = aiter(self._store.ids())
        while (page := await _guarded(_next(pages))) is not None:
            yield page

    async def greeting_fields(self, id: str) -> GreetingFields | None:
        """As the store has them. Raises StoreError, also for a value of another type."""
        return _checked(await _guarded(self._store.greeting_fields(id)), GreetingFields)

    async def common(self, limit: int) -> Sequence[str]:
        """As the store has them, no more than `limit`. Raises StoreError."""
        return (await _guarded(self._store.common(limit)))[:limit]

    async def tools(self) -> set[str]:
        """As the store has them. Raises StoreError."""
        return await _guarded(self._store.tools())

    async def resumption(self, id: str) -> LastSession | None:
        """As the store has it. Raises StoreError."""
        return _checked(await _guarded(self._store.resumption(id)), LastSession)

    async def save_last_session(self, id: str, last: LastSession) -> None:
        """Has the store write it. Raises StoreError."""
        await _guarded(self._store.save_last_session(id, last))

    async def record_session(self, session: SessionRow) -> None:
        """Has the store write it. Raises StoreError."""
        await _guarded(self._store.record_session(session))

    async def prepare(self) -> None:
        """Has the store prepare itself. Raises StoreError."""
        await _guarded(self._store.prepare())

    async def aclose(self) -> None:
        """Has the store close itself. Raises StoreError."""
        await _guarded(self._store.aclose())


async def _guarded(work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(STATEMENT_S):
            return await work
    except StoreError:
        raise
    except TimeoutError:
        raise StoreError(StoreFailure.LATE, "no answer in time") from None
    except OSError as error:
        raise StoreError(StoreFailure.UNREACHABLE, type(error).__name__) from None
    except Exception as error:
        raise StoreError(StoreFailure.BROKEN, type(error).__name__) from None


async def _next(pages: AsyncIterator[Sequence[str]]) -> Sequence[str] | None:
    return await anext(pages, None)


def _checked(value: T | None, kind: type[T]) -> T | None:
    if value is not None and not isinstance(value, kind):
        raise StoreError(StoreFailure.BROKEN, f"expected {kind.__name__} or None, not {type(value).__name__}")
    return value

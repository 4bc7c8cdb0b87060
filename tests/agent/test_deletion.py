"""What is cached of a deleted account goes, whatever else fails meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from firstword.agent.accounts import sql_store as stores
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.audio.synthesis import Synthesis
from firstword.agent.failures import BackOff
from firstword.agent.flags.improvements import profile
from firstword.agent.process import deletion
from firstword.agent.process.caches import opened_caches
from firstword.agent.process.prefetch import Prefetch
from firstword.agent.settings import Settings
from tests.agent.providers import made, simulated
from tests.agent.silent_server import silent_server

RoundsOf = Callable[[Settings], Prefetch]
ADA = ACCOUNTS[0].id


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    async with simulated(tmp_path) as found:
        yield found.model_copy(update={"profile": "tuned"})


async def owners(settings: Settings) -> int:
    """How many owners the caches know, counted in each."""
    caches = opened_caches(settings, profile("tuned"))
    assert caches.accounts is not None
    assert caches.speeches is not None
    try:
        return sum([len(await cache._backend.owners()) for cache in (caches.accounts, caches.speeches)])  # pyright: ignore[reportPrivateUsage]
    finally:
        await caches.aclose()


async def delete_ada(settings: Settings) -> None:
    store = await SQLStore.open(settings.store_url.get_secret_value())
    await store.delete(ADA)
    await store.aclose()


async def test_deletion_does_not_wait_for_a_round_that_succeeds(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, rounds_of: RoundsOf
) -> None:
    """The voice breaks in each round, in a way that nobody expected: what is deleted is gone all the same."""

    async def broken(self: Synthesis, text: str) -> list[object]:
        raise RuntimeError("not an answer")

    await rounds_of(settings).make()
    before = await owners(settings)
    await delete_ada(settings)
    monkeypatch.setattr(Synthesis, "recorded", broken)
    monkeypatch.setattr(deletion, "FIRST_S", 0.05)
    rounds = [
        asyncio.create_task(rounds_of(settings).keep_fresh()),
        asyncio.create_task(deletion.keep_deleting(settings)),
    ]
    async with asyncio.timeout(120):
        while await owners(settings) != before - 2:  # noqa: ASYNC110 - it happens in the other task
            await asyncio.sleep(0.05)
    for task in rounds:
        task.cancel()
    await asyncio.gather(*rounds, return_exceptions=True)


async def test_one_cache_that_fails_keeps_the_other_from_nothing(
    settings: Settings, tmp_path: Path, rounds_of: RoundsOf
) -> None:
    """The file of the accounts is a folder; the audio is deleted, and the answer says that not all is done."""
    await rounds_of(settings).make()
    await delete_ada(settings)
    before = await owners(settings)
    (accounts,) = (tmp_path / "cache" / "firstword").glob("accounts.*.db")
    aside = accounts.rename(tmp_path / "accounts.aside")
    accounts.mkdir()
    assert await deletion.forget_the_gone(settings) == "cache"
    accounts.rmdir()
    aside.rename(accounts)
    assert await owners(settings) == before - 1
    assert await deletion.forget_the_gone(settings) is None
    assert await owners(settings) == before - 2


async def test_a_store_that_never_answers_is_tried_again(
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rounds_of: RoundsOf,
) -> None:
    """Each look ends by a deadline and says so once; the looks go on, further and further apart."""
    await rounds_of(settings).make()
    monkeypatch.setattr(stores, "STATEMENT_S", 0.1)
    monkeypatch.setattr(deletion, "FIRST_S", 0.05)
    pauses: list[float] = []
    failed = BackOff.failed

    def counted(self: BackOff) -> float:
        pauses.append(failed(self))
        return pauses[-1]

    monkeypatch.setattr(BackOff, "failed", counted)
    async with silent_server() as server:
        hung = settings.model_copy(
            update={"store_url": made(tmp_path, store_url=f"postgresql://u:p@127.0.0.1:{server.port}/d").store_url}
        )
        with caplog.at_level(logging.WARNING, logger="firstword"):
            deleting = asyncio.create_task(deletion.keep_deleting(hung))
            async with asyncio.timeout(120):
                while len(pauses) < 4:  # noqa: ASYNC110 - counted in the other task
                    await asyncio.sleep(0.02)
            deleting.cancel()
            await asyncio.gather(deleting, return_exceptions=True)
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.4]
    assert caplog.messages == ["what is cached of deleted accounts could not all be deleted: store late"]

"""What is cached of a deleted account goes, whatever else fails meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from firstword.agent.accounts import store as stores
from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.store import AccountStore
from firstword.agent.audio.synthesis import Synthesis
from firstword.agent.flags.improvements import profile
from firstword.agent.process import deletion
from firstword.agent.process.caches import opened_caches
from firstword.agent.process.prefetch import Prefetch
from firstword.agent.settings import Settings
from tests.agent.providers import made, simulated
from tests.agent.silent_server import silent_server

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
    store = await AccountStore.open(settings.store_url.get_secret_value())
    await store.delete(ADA)
    await store.aclose()


async def test_deletion_does_not_wait_for_a_round_that_succeeds(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The voice breaks in each round, in a way that nobody expected: what is deleted is gone all the same."""

    async def broken(self: Synthesis, text: str) -> list[object]:
        raise RuntimeError("not an answer")

    await Prefetch(settings).make()
    before = await owners(settings)
    await delete_ada(settings)
    monkeypatch.setattr(Synthesis, "recorded", broken)
    monkeypatch.setattr(deletion, "FIRST_S", 0.05)
    rounds = [
        asyncio.create_task(Prefetch(settings).keep_fresh()),
        asyncio.create_task(deletion.keep_deleting(settings)),
    ]
    async with asyncio.timeout(30):
        while await owners(settings) != before - 2:  # noqa: ASYNC110 - it happens in the other task
            await asyncio.sleep(0.05)
    for task in rounds:
        task.cancel()
    await asyncio.gather(*rounds, return_exceptions=True)


async def test_one_cache_that_fails_keeps_the_other_from_nothing(settings: Settings, tmp_path: Path) -> None:
    """The file of the accounts is a folder; the audio is deleted, and the answer says that not all is done."""
    await Prefetch(settings).make()
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
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each look ends by a deadline and says so once; the looks go on, further and further apart."""
    await Prefetch(settings).make()
    monkeypatch.setattr(stores, "STATEMENT_S", 0.1)
    monkeypatch.setattr(deletion, "FIRST_S", 0.05)
    looks: list[float] = []
    look = deletion.forget_the_gone

    async def counted(settings: Settings) -> str | None:
        looks.append(time.monotonic())
        return await look(settings)

    monkeypatch.setattr(deletion, "forget_the_gone", counted)
    async with silent_server() as server:
        hung = settings.model_copy(
            update={"store_url": made(tmp_path, store_url=f"postgresql://u:p@127.0.0.1:{server.port}/d").store_url}
        )
        with caplog.at_level(logging.WARNING, logger="firstword"):
            deleting = asyncio.create_task(deletion.keep_deleting(hung))
            async with asyncio.timeout(30):
                while len(looks) < 4:  # noqa: ASYNC110 - counted in the other task
                    await asyncio.sleep(0.02)
            deleting.cancel()
            await asyncio.gather(deleting, return_exceptions=True)
    pauses = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert pauses[-1] > pauses[0]
    assert caplog.messages == ["what is cached of deleted accounts could not all be deleted: store late"]

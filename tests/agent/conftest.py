"""What the agent's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from firstword.agent import startup
from tests.agent.providers import made
from tests.agent.virtual_calls import VirtualCalls


@pytest.fixture
def virtual_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VirtualCalls:
    """Calls in which what reads files or the shell takes a known time instead."""

    async def background(*_: object) -> Callable[[], Awaitable[None]]:
        await asyncio.sleep(0.050)

        async def end() -> None: ...

        return end

    def no_metrics(_: object) -> None: ...

    monkeypatch.setattr(startup, "start_background_audio", background)
    settings = made(tmp_path, profile="baseline", account_sources="metadata,attribute")
    monkeypatch.setattr(startup, "read_settings", lambda: settings)
    monkeypatch.setattr(startup, "set_up_metrics", no_metrics)
    return VirtualCalls(settings)

"""Looks once, when a worker starts, whether accounts list tools that nobody has.

In the worker's own process. A tool that is missing is found out here, not by a caller whom the assistant can't help.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from firstword.agent.accounts.account_store import StoreError
from firstword.agent.conversation.tools import unknown_tools
from firstword.agent.parts import WorkerParts
from firstword.agent.settings import Settings

logger = logging.getLogger("firstword")

_PATIENCE_S: Final = 5.0
"""Seconds that the worker waits for the store before it starts all the same."""


async def missing_tools(settings: Settings) -> str | None:
    """Returns one line on tools that accounts list and the worker has not, or None.

    None, too, where the store can't say so within `_PATIENCE_S` seconds. That is one line in the log.
    """
    parts = WorkerParts(settings)
    store = parts.store()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await store.prepare()
            listed = await store.tools()
    except (StoreError, TimeoutError) as error:
        logger.info("nobody knows whether accounts list tools that are missing (%s)", type(error).__name__)
        return None
    finally:
        await store.aclose()
    return unknown_tools(listed, parts.tools())

"""A real PostgreSQL for tests: started once a test session on a Unix socket, from PATH, else from a wheel.

Tests import the fixture by name.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from firstword.rehearsal.postgres import NoPostgres, running_postgres


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url() -> AsyncGenerator[str]:
    """URL of an empty database on a server of this test session, which stops with it."""
    try:
        async with running_postgres() as url:
            yield url
    except NoPostgres as error:
        pytest.fail(f"{error}. Install it, or run `make setup` again", pytrace=False)

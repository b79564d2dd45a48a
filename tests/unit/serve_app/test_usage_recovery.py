"""Usage that a replica could not report is made up for out of the audit by its successor, exactly once."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.config import AppConfig
from serve_app.registry import Registry
from serve_app.registry.operations import SumUsage
from tests.unit.serve_app.conftest import ScriptedUpstream
from tests.unit.serve_app.registry.conftest import Line
from tests.unit.serve_app.test_audit_wiring import (
    CHAT,
    CHAT_PATH,
    DEADLINE_S,
    bearer,
    check,
    client_of,
    serving,
)


class Away:
    """Makes the registry unreachable for a replica, or its answers get lost, from some moment on."""

    def __init__(self) -> None:
        self.line: Line | None = None

    def __call__(self, registry: Registry) -> Line:
        self.line = Line(registry)
        return self.line


async def used(config: AppConfig) -> tuple[int, int]:
    """Requests and tokens in the usage table."""
    registry = Registry(config.store, config.limits)
    sums = await registry.run(SumUsage(()))
    await registry.close()
    return sum(each.requests for each in sums), sum(
        each.prompt_tokens + each.completion_tokens for each in sums
    )


@pytest.mark.parametrize("fault", ["is_cut", "loses_answers"])
async def test_usage_that_was_not_acknowledged_is_counted_once(
    config: AppConfig, upstream: ScriptedUpstream, fault: str
) -> None:
    away = Away()
    async with (
        serving(config, upstream, over=away) as app,
        client_of(app, bearer(config, "zhangsan")) as client,
    ):
        assert away.line is not None
        for _ in range(3):
            assert (await client.post(CHAT_PATH, json=CHAT)).status_code == 200
        async with asyncio.timeout(DEADLINE_S):
            while (await used(config))[0] < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        setattr(away.line, fault, True)
        asks = away.line.asks
        for _ in range(2):
            assert (await client.post(CHAT_PATH, json=CHAT)).status_code == 200
        # One flush is on its way in vain; what comes now is in none.
        async with asyncio.timeout(DEADLINE_S):
            while away.line.asks < asks + 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await client.post(CHAT_PATH, json=CHAT)).status_code == 200
    assert (await used(config))[0] == (3 if fault == "is_cut" else 5)

    for _ in range(2):  # and it stays so
        async with serving(config, upstream):
            pass
        assert await used(config) == (6, 6 * 5)
    assert check(config).problem is None

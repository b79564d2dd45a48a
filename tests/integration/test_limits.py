"""Limits shared by three ingress replicas, under sixty clients that want more than they may have."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serve_app.cli.token import issue
from serve_app.serve_file import keep_files_in, load
from tests.integration.conftest import ROOT, Application, running
from tests.integration.test_faults import replicas

pytestmark = pytest.mark.integration

INGRESSES = 3
CLIENTS = 60
WINDOW_S = 60.0
MINUTE_LIMIT = 12_000
DAY_LIMIT = 30_000
LEASE_TTL_S = 4.0
LEAST = 0.95
UNREPORTED = DAY_LIMIT // 20
TOKENS = 40
FOUND_WITHIN_S = 400


@dataclass(frozen=True)
class Served:
    """One request that was accepted; it was admitted at some moment between the two.

    Attributes:
        sent: Monotonic clock, seconds.
        answered: Monotonic clock, seconds.
        tokens: Of prompt and answer, as the engine counted them.
    """

    sent: float
    answered: float
    tokens: int


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Application, Path]]:
    """An application with three ingress replicas, and its configuration."""
    folder = tmp_path_factory.mktemp("limits")
    content = yaml.safe_load((ROOT / "configs" / "simulated.yaml").read_text(encoding="utf-8"))
    args: dict[str, Any] = content["applications"][0]["args"]
    keep_files_in(folder, args)
    args["ingress"] = {"num_replicas": INGRESSES}
    args["limits"] = {
        "ledger": {"lease_ttl_s": LEASE_TTL_S},
        "rules": [
            {"scope": "user", "name": "hasty", "tokens_per_minute": MINUTE_LIMIT},
            {"scope": "user", "name": "daily", "tokens_per_day": DAY_LIMIT},
        ],
    }
    config = folder / "limits.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(config, folder / "state") as application:
        assert application.state
        deadline = time.monotonic() + FOUND_WITHIN_S
        while len(replicas(application.state, "Ingress")) < INGRESSES and time.monotonic() < deadline:
            time.sleep(0.5)  # between two looks
        yield application, config


class Crowd:
    """Sixty clients of one user, who ask again and again until told to stop."""

    def __init__(self, application: Application, config: Path, user: str) -> None:
        token = issue(load(config).app.auth, user, ["user"], 600)
        self._headers = {"authorization": f"Bearer {token}"}
        self._url = f"{application.url}/v1/chat/completions"
        self.served: list[Served] = []
        self.served_at = time.monotonic()
        self.refused = 0
        self.broken = 0

    @property
    def tokens(self) -> int:
        """Accepted so far."""
        return sum(each.tokens for each in self.served)

    async def ask_for(self, duration_s: float) -> None:
        """All clients at once, for so long."""
        until = time.monotonic() + duration_s
        await self._ask(lambda: time.monotonic() < until)

    async def ask_until_nothing_is_left(self) -> None:
        """All clients at once, until a limit has let nobody through for longer than any lease lives."""
        await self._ask(lambda: not self.refused or time.monotonic() < self.served_at + 2 * LEASE_TTL_S)

    async def _ask(self, goes_on: Callable[[], bool]) -> None:
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(headers=self._headers, timeout=120, limits=limits) as client:
            await asyncio.gather(*(self._one(client, goes_on, seed) for seed in range(CLIENTS)))

    async def _one(self, client: httpx.AsyncClient, goes_on: Callable[[], bool], seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  (lengths, no secrets)
        while goes_on():
            sent = time.monotonic()
            body = {
                "model": "simulated-chat",
                "messages": [{"role": "user", "content": "Tell me a short story."}],
                "max_tokens": chance.randint(1, TOKENS),
            }
            try:
                response = await client.post(self._url, json=body)
            except httpx.HTTPError:
                self.broken += 1
                continue
            if response.status_code == 200:
                used = response.json()["usage"]["total_tokens"]
                self.served_at = time.monotonic()
                self.served.append(Served(sent, self.served_at, used))
                continue
            assert response.status_code in {429, 500, 502, 503}, response.text
            self.refused += response.status_code == 429
            # A client that waits for its turn as it is told would hardly ask twice in this test.
            await asyncio.sleep(chance.uniform(0.3, 0.9))


def most_in_a_window(served: list[Served]) -> int:
    """Tokens that were certainly admitted within some window, at most."""
    return max(
        sum(s.tokens for s in served if s.sent >= first.sent and s.answered <= first.sent + WINDOW_S)
        for first in served
    )


@pytest.mark.timeout(1500)
async def test_three_replicas_share_one_limit_exactly(shared: tuple[Application, Path]) -> None:
    crowd = Crowd(*shared, "hasty")
    begun = time.monotonic()
    await crowd.ask_for(WINDOW_S + 15)

    assert crowd.refused > CLIENTS
    assert most_in_a_window(crowd.served) <= MINUTE_LIMIT
    first = sum(each.tokens for each in crowd.served if each.answered <= begun + WINDOW_S)
    assert first >= LEAST * MINUTE_LIMIT


@pytest.mark.timeout(1500)
async def test_replica_that_dies_takes_no_more_than_its_lease_and_that_comes_back(
    shared: tuple[Application, Path],
) -> None:
    application, _ = shared
    assert application.state
    crowd = Crowd(*shared, "daily")
    asking = asyncio.ensure_future(crowd.ask_until_nothing_is_left())
    async with asyncio.timeout(180):
        while crowd.tokens < DAY_LIMIT / 3:  # noqa: ASYNC110  (a sum, not an event)
            await asyncio.sleep(0.01)
    os.kill(min(replicas(application.state, "Ingress")), signal.SIGKILL)
    await asking

    assert crowd.refused > 0, "it was asked for more than there was"
    # What the dead replica had spent since its last report, half a second at most, comes back with its lease.
    assert LEAST * DAY_LIMIT <= crowd.tokens <= DAY_LIMIT + UNREPORTED

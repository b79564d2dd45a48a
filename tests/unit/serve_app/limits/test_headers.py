"""OpenAI's rate limit headers."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.limits.bucket import Bucket, LimitName, Scope
from serve_app.limits.headers import duration, rate_limit_headers, retry_headers
from serve_app.limits.refusal import LedgerAway, LimitExceeded, LimitRefusal, RequestTooLarge
from tests.unit.serve_app.limits import simulation, virtual_time
from tests.unit.serve_app.limits.simulation import CALLER, MODEL, Network, Replica, Trace

BUCKET = Bucket(LimitName.TOKENS_PER_MINUTE, Scope.TENANT, "lab")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "1ms"),
        (0.12, "120ms"),
        (1, "1s"),
        (1.2, "2s"),
        (59.5, "1m0s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86_399, "23h59m59s"),
    ],
)
def test_duration_is_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("refusal", "headers"),
    [
        (LimitExceeded(BUCKET, 10, 0.0), {"retry-after": "1"}),
        (LimitExceeded(BUCKET, 10, 41.2), {"retry-after": "42"}),
        (LedgerAway(0.5), {"retry-after": "1"}),
        (RequestTooLarge(BUCKET, 10, 11), {}),
    ],
)
def test_retry_after_is_in_whole_seconds_where_retrying_helps(
    refusal: LimitRefusal, headers: dict[str, str]
) -> None:
    assert retry_headers(refusal) == headers


def test_headers_speak_of_the_tightest_limit_and_all_replicas() -> None:
    async def main() -> None:
        rules = simulation.rules(
            requests_per_minute=100, concurrent_requests=3, tokens_per_minute=1000, tokens_per_day=1_000_000
        )
        ledger = simulation.ledger()
        first, second = (
            Replica(name, Network(ledger, simulation.seeded(name)), rules, Trace()) for name in "ab"
        )
        await first.limiter.reserve(CALLER, MODEL, 600, 0)
        await asyncio.sleep(1)
        reservation = await second.limiter.reserve(CALLER, MODEL, 100, 0)
        headers = rate_limit_headers(reservation, asyncio.get_running_loop().time())
        assert headers["x-ratelimit-limit-tokens"] == "1000"
        # Two of three reserved tokens are known here; a little may lie in the other replica's lease.
        assert 200 <= int(headers["x-ratelimit-remaining-tokens"]) <= 300
        assert headers["x-ratelimit-reset-tokens"].startswith("1m")
        assert headers["x-ratelimit-limit-requests"] == "100"
        assert 85 <= int(headers["x-ratelimit-remaining-requests"]) <= 98
        await first.stop()
        await second.stop()

    virtual_time.run(main())


def test_without_limits_there_are_no_headers() -> None:
    async def main() -> None:
        replica = Replica(
            "a",
            Network(simulation.ledger(), simulation.seeded(1)),
            simulation.rules(concurrent_requests=3),
            Trace(),
        )
        assert rate_limit_headers(await replica.limiter.reserve(CALLER, MODEL, 600, 0), 0.0) == {}
        await replica.stop()

    virtual_time.run(main())

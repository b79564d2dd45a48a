"""The ledger in Redis."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from serve_app.limits.account import Account
from serve_app.limits.bucket import LimitName
from serve_app.limits.config import EstimateConfig, LedgerConfig
from serve_app.limits.estimate import Estimator
from serve_app.limits.leases import Leases
from serve_app.limits.ledger import Ask, Batch, LedgerUnavailable
from serve_app.limits.limiter import Limiter
from serve_app.limits.redis_ledger import PREFIX, RedisLedger
from serve_app.limits.refusal import LimitExceeded
from serve_app.limits.span import span
from tests.unit.serve_app.limits import simulation
from tests.unit.serve_app.limits.ledgers import MovableRedis, bucket

UTC = ZoneInfo("UTC")


@pytest.mark.parametrize("limit", LimitName)
async def test_script_and_account_agree_on_any_conversation(redis: Redis, limit: LimitName) -> None:
    rng = simulation.seeded(limit)
    ledger, account, seqs, counted = MovableRedis(redis), Account(), dict.fromkeys("abc", 0), [0]
    key = PREFIX + bucket(limit).id
    for _ in range(150):
        replica = rng.choice("abc")
        seqs[replica] += rng.random() < 0.9
        gauge = limit is LimitName.CONCURRENT_REQUESTS
        ask = Ask(
            bucket=bucket(limit).id,
            name=limit,
            limit=rng.choice((1000, 1000, 700)),
            spent=0 if gauge else rng.choice((0, 50, 300)),
            refunds=() if gauge else ((rng.choice(counted), rng.randint(0, 80)),),
            in_use=rng.randint(0, 20) if gauge else 0,
            keep=rng.randint(0, 300),
            needs=tuple(rng.randint(1, 200) for _ in range(rng.randint(0, 3))),
            want=rng.randint(0, 500),
        )
        batch = Batch(replica, seqs[replica], 10_000, (ask,))
        before_ms = await _server_ms(redis)
        (told,) = await ledger.sync(batch)
        after_ms = await _server_ms(redis)
        state = json.loads(await redis.get(key) or "")
        for now_ms in range(before_ms, after_ms + 1):  # At one of these moments the script ran.
            twin = copy.deepcopy(account)
            grant = twin.apply(ask, batch, span(limit.kind, now_ms, UTC), now_ms)
            if grant == told and twin.to_json() == state:
                break
        else:
            pytest.fail(f"{told} and {state}, but the account says {grant} and {twin.to_json()}")
        account = twin
        counted = [*counted[-5:], told.counted_ms]
        if rng.random() < 0.3:
            await ledger.advance(rng.choice((1, 5, 12, 40)))
            account = Account.from_json(json.loads(await redis.get(key) or ""), now_ms)


async def _server_ms(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def test_replicas_with_sixty_clients_at_one_redis_stop_at_the_limit(redis: Redis) -> None:
    limiters = []
    for _ in range(3):
        leases = Leases(RedisLedger(redis, UTC), LedgerConfig())
        leases.start()
        limiters.append(
            (leases, Limiter(simulation.rules(requests_per_minute=500), leases, Estimator(EstimateConfig())))
        )
    accepted = 0

    async def client(limiter: Limiter) -> None:
        nonlocal accepted
        while True:
            try:
                await limiter.reserve(simulation.CALLER, simulation.MODEL, 1, 0)
            except LimitExceeded:
                return
            accepted += 1

    await asyncio.gather(*(client(limiter) for _, limiter in limiters for _ in range(20)))
    for leases, _ in limiters:
        await leases.close()
    assert 0.95 * 500 <= accepted <= 500


async def test_accounts_do_not_outlive_what_counts(redis: Redis) -> None:
    ask = Ask(bucket().id, LimitName.TOKENS_PER_MINUTE, 1000, needs=(5,))
    await RedisLedger(redis, UTC).sync(Batch("a", 1, 10_000, (ask,)))
    assert 0 < await redis.pttl(PREFIX + bucket().id) <= (10 + 60 + 600) * 1000


async def test_script_is_loaded_again_when_redis_forgot_it(redis: Redis) -> None:
    ledger = RedisLedger(redis, UTC)
    ask = Ask(bucket().id, LimitName.TOKENS_PER_MINUTE, 1000, needs=(5,))
    await ledger.sync(Batch("a", 1, 10_000, (ask,)))
    await redis.script_flush()
    (grant,) = await ledger.sync(Batch("a", 2, 10_000, (ask,)))
    assert grant.amount == 5


async def test_clock_more_than_a_period_away_is_an_error_that_says_so(redis: Redis) -> None:
    ledger = RedisLedger(redis, UTC, clock=lambda: 1_000_000_000.0)
    ask = Ask(bucket(LimitName.TOKENS_PER_DAY).id, LimitName.TOKENS_PER_DAY, 1000, needs=(5,))
    with pytest.raises(LedgerUnavailable, match="more than a day apart"):
        await ledger.sync(Batch("a", 1, 10_000, (ask,)))


async def test_unreachable_redis_is_unavailable_and_the_password_stays_secret(tmp_path: Path) -> None:
    url_file = tmp_path / "url"
    url_file.write_text("redis://:hush-hush@127.0.0.1:1/0\n")
    config = LedgerConfig(kind="redis", redis_url_file=url_file)
    ledger = RedisLedger.from_config(config, UTC)
    ask = Ask(bucket().id, LimitName.TOKENS_PER_MINUTE, 1000, needs=(5,))
    with pytest.raises(LedgerUnavailable) as caught:
        await ledger.sync(Batch("a", 1, 10_000, (ask,)))
    assert "hush" not in str(caught.value)
    await ledger.close()


@pytest.mark.parametrize("url", ["http://:hush-hush@host", "redis://:hush-hush@host:port"])
def test_wrong_url_is_refused_without_quoting_it(url: str) -> None:
    config = LedgerConfig(kind="redis", redis_url=SecretStr(url))
    with pytest.raises(LedgerUnavailable, match="write redis://") as caught:
        RedisLedger.from_config(config, UTC)
    assert "hush" not in str(caught.value)


def test_missing_url_file_is_named(tmp_path: Path) -> None:
    config = LedgerConfig(kind="redis", redis_url_file=tmp_path / "none")
    with pytest.raises(LedgerUnavailable, match="redis_url_file"):
        RedisLedger.from_config(config, UTC)

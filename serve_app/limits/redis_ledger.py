"""The ledger in Redis, for several clusters that share limits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from serve_app.limits.account import FORGET_AFTER_MS, RETRY_MS, SCARCE_SHARE
from serve_app.limits.bucket import Kind
from serve_app.limits.config import LedgerConfig
from serve_app.limits.ledger import Ask, Batch, Grant, LedgerUnavailable
from serve_app.limits.redis_script import SCRIPT
from serve_app.limits.span import SLOT_MS, WINDOW_MS, period

PREFIX: Final = "qwen-serve:limits:"


class RedisLedger:
    """A ledger that any number of clusters reach.

    Redis must not evict its keys (``maxmemory-policy noeviction``), and what it forgets in a crash is
    forgotten here too: with ``appendonly yes`` that is one second at most.

    Args:
        client: Connected lazily; closed by `close`.
        zone: Where days and months begin; the same in every cluster.
        clock: Seconds since 1970; right to within a day.
    """

    def __init__(self, client: Redis, zone: ZoneInfo, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._zone = zone
        self._clock = clock
        self._script = client.register_script(SCRIPT)

    @classmethod
    def from_config(cls, config: LedgerConfig, zone: ZoneInfo) -> Self:
        """The ledger that the configuration names.

        Raises:
            LedgerUnavailable: The URL cannot be read, or is none.
        """
        url = config.redis_url.get_secret_value() if config.redis_url else ""
        if config.redis_url_file is not None:
            try:
                url = config.redis_url_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise LedgerUnavailable(
                    f"Cannot read limits.ledger.redis_url_file {config.redis_url_file}: {error.strerror}."
                ) from error
        timeout_s = config.sync_timeout_s
        try:
            client = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        except ValueError:
            # Not chained: the message would quote the URL, and with it the password.
            raise LedgerUnavailable(
                "The URL of the Redis ledger is not one; write redis://host:6379/0 or rediss://..."
            ) from None
        return cls(client, zone)

    async def sync(self, batch: Batch) -> tuple[Grant, ...]:
        """Count what was spent, and grant. Each bucket by itself is atomic.

        Raises:
            LedgerUnavailable: Redis does not answer, or refuses.
        """
        messages = [self._message(ask, batch) for ask in batch.asks]
        try:
            try:
                rows = await self._run(messages)
            except NoScriptError:
                # A Redis that was restarted; what the pipeline had counted before has the same seq.
                await self._client.script_load(SCRIPT)
                rows = await self._run(messages)
        except (RedisError, OSError) as error:
            raise LedgerUnavailable(f"Redis does not answer: {error}") from error
        return tuple(_grant(row) for row in rows)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _run(self, messages: list[tuple[str, str]]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for key, message in messages:
                pipeline.evalsha(self._script.sha, 1, key, message)
            rows: list[Any] = await pipeline.execute()
        return rows

    def _message(self, ask: Ask, batch: Batch) -> tuple[str, str]:
        kind = ask.name.kind
        message = {
            "spent": ask.spent,
            "refunds": ask.refunds,
            "in_use": ask.in_use,
            "keep": ask.keep,
            "needs": ask.needs,
            "want": ask.want,
            "limit": ask.limit,
            "replica": batch.replica,
            "seq": batch.seq,
            "ttl": batch.ttl_ms,
            "window": WINDOW_MS if kind is Kind.WINDOW else 0,
            "slot": SLOT_MS,
            "periods": self._periods(kind),
            "gauge": kind is Kind.GAUGE,
            "share": SCARCE_SHARE,
            "forget": FORGET_AFTER_MS,
            "retry": RETRY_MS,
        }
        return PREFIX + ask.bucket, json.dumps(message, separators=(",", ":"))

    def _periods(self, kind: Kind) -> list[tuple[int, int]]:
        """The period of this clock's now, and its neighbours; Redis takes the one of its own now."""
        if kind not in {Kind.DAY, Kind.MONTH}:
            return []
        start_ms, end_ms = period(kind, int(self._clock() * 1000), self._zone)
        before = period(kind, start_ms - 1, self._zone)
        return [before, (start_ms, end_ms), period(kind, end_ms, self._zone)]


def _grant(row: list[int]) -> Grant:
    amount, valid_ms, counted_ms, remaining, reset_ms, refused, retry_ms, scarce = row
    return Grant(amount, valid_ms, counted_ms, remaining, reset_ms, refused, retry_ms, bool(scarce))

"""Failed attempts to authenticate: counted per address, and answered more slowly the more there are.

Only refusals wait. A credential that holds is never slowed, whoever fails beside it: many callers share
an address (a proxy, a gateway), and one of them must not be able to lock the others out. What keeps a
key from being guessed are its 256 bits; the wait keeps a scanner from filling log and processor. So the
number of refusals that wait is bounded too, or waiting itself would fill a replica's places.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from serve_app.auth.config import AttemptsConfig

_IPV6_SITE_BITS = 64
_MAX_DOUBLINGS = 16


@dataclass(slots=True)
class _Failures:
    count: int
    last_at: float


class Attempts:
    """The failures of one replica. Belongs to one event loop; writes nothing anywhere.

    Args:
        config: When to slow, and how much.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        config: AttemptsConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._failures)

    async def fail(self, address: str | None) -> None:
        """Count a failure of an address, and wait as long as its refusal is to wait."""
        delay_s = self._delay_s(self._count(_source(address)))
        if delay_s <= 0 or self._waiting >= self._config.max_waiting:
            return
        self._waiting += 1
        try:
            await self._sleep(delay_s)
        finally:
            self._waiting -= 1

    def _count(self, source: str) -> int:
        now = self._clock()
        failures = self._failures.get(source)
        if failures is None or now - failures.last_at > self._config.window_s:
            failures = self._failures[source] = _Failures(0, now)
        failures.count += 1
        failures.last_at = now
        self._failures.move_to_end(source)
        if len(self._failures) > self._config.max_tracked_addresses:
            self._failures.popitem(last=False)
        return failures.count

    def _delay_s(self, count: int) -> float:
        over = count - self._config.max_failures
        if over <= 0:
            return 0
        return min(self._config.delay_s * 2.0 ** min(over - 1, _MAX_DOUBLINGS), self._config.max_delay_s)


def _source(address: str | None) -> str:
    """What counts as one address: of IPv6 a /64, which is the least that anyone has."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), _IPV6_SITE_BITS), strict=False).network_address)

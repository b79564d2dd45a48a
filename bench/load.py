"""The load generator: so many clients at once, each with one request after the other.

It runs in a process of its own (`bench.generator`), and does as little as can be done while the load lasts:
it keeps what each read of a socket brought, with the time, and makes sense of it only afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from bench.endpoint import LOOPBACK
from bench.quantile import quantile
from bench.stream import NotWhole, Stream, read

_ANSWER_BOUND_S = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """What to ask for.

    Attributes:
        port: Where, on the loopback address.
        request: As written to the socket.
        tokens: Of each answer.
        clients: Requests in hand at once.
        seconds: A client asks again until so much time has passed, and finishes what it has begun; 0: once.
        most_requests: No more than this in all, or one for each client where that is more.
    """

    port: int
    request: bytes
    tokens: int
    clients: int
    seconds: float
    most_requests: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a load has met.

    Attributes:
        requests: Answered in whole; all other figures are of these.
        failed: Refused, broken off or too short.
        failure: What was wrong with the first of them.
        tokens: Received.
        wall_s: From the first request to the last end.
        ttft_p50_s: Time from request to first token, median over the requests.
        ttft_p99_s: The same, 99th percentile.
        itl_p50_s: Time between tokens, median over all of them; 0 where most arrive in company.
        itl_p99_s: The same, 99th percentile.
        own_cpu_s: CPU that the load generator itself used meanwhile.
    """

    requests: int
    failed: int
    failure: str
    tokens: int
    wall_s: float
    ttft_p50_s: float
    ttft_p99_s: float
    itl_p50_s: float
    itl_p99_s: float
    own_cpu_s: float


class Exchange(asyncio.Protocol):
    """One request on a connection of its own, and what came back.

    Args:
        request: Written as soon as the connection stands; connecting is not part of the time to first token.
    """

    def __init__(self, request: bytes) -> None:
        self.sent_s = 0.0
        self.reads: list[tuple[float, bytes]] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.sent_s = time.perf_counter()
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Keep it for later."""
        self.reads.append((time.perf_counter(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has said everything; what broke off is found out later."""
        del exc
        if not self.over.done():
            self.over.set_result(None)


@dataclass(frozen=True, slots=True)
class Record:
    """A load that is over, before anybody has looked at the answers.

    Attributes:
        load: What was asked for.
        exchanges: All requests and answers.
        wall_s: From the first request to the last end.
        own_cpu_s: CPU that this process used meanwhile.
    """

    load: Load
    exchanges: Sequence[Exchange]
    wall_s: float
    own_cpu_s: float

    def report(self) -> Report:
        """The figures.

        Raises:
            NotWhole: No answer is what it should be.
        """
        streams: list[Stream] = []
        failures: list[NotWhole] = []
        for each in self.exchanges:
            try:
                streams.append(read(each.sent_s, each.reads, self.load.tokens))
            except NotWhole as failure:
                failures.append(failure)
        if not streams:
            raise failures[0]
        firsts = [stream.first_s for stream in streams]
        gaps = [gap for stream in streams for gap in stream.gaps_s]
        return Report(
            len(streams),
            len(failures),
            str(failures[0]) if failures else "",
            sum(stream.tokens for stream in streams),
            self.wall_s,
            quantile(firsts, 0.5),
            quantile(firsts, 0.99),
            quantile(gaps, 0.5),
            quantile(gaps, 0.99),
            self.own_cpu_s,
        )


async def run(load: Load) -> Record:
    """Put the load on.

    Raises:
        OSError: Nobody listens.
    """
    exchanges: list[Exchange] = []
    left = iter(range(max(load.most_requests, load.clients) - load.clients))
    cpu, begun = time.process_time(), time.perf_counter()

    async def ask_on() -> None:
        while True:
            exchanges.append(await _exchange(load))
            if time.perf_counter() - begun >= load.seconds or next(left, None) is None:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(load.clients):
            group.create_task(ask_on())
    return Record(load, exchanges, time.perf_counter() - begun, time.process_time() - cpu)


async def _exchange(load: Load) -> Exchange:
    loop = asyncio.get_running_loop()
    transport, exchange = await loop.create_connection(lambda: Exchange(load.request), LOOPBACK, load.port)
    # An answer that takes longer is left as it is, and so not whole.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(exchange.over, _ANSWER_BOUND_S)
    transport.close()
    return exchange

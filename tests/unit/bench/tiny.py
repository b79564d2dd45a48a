"""A server that streams as many tokens as it is asked for: `python -m tests.unit.bench.tiny PORT`."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field

from bench.endpoint import LOOPBACK

_TOKEN = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
_STEP_S = 0.01


@dataclass
class Server:
    """Counts what it is asked.

    Attributes:
        missing: So many tokens less than asked for...
        faulty: ... in the answers to so many of the first requests.
        requests: Heads of all requests.
        most_at_once: Requests in hand at the same time, at most.
    """

    missing: int = 0
    faulty: int = 1_000
    requests: list[bytes] = field(default_factory=list)
    most_at_once: int = 0
    _now: int = 0

    async def listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._answer, LOOPBACK, port)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        tokens = json.loads(await reader.readexactly(length))["max_tokens"]
        tokens -= self.missing if len(self.requests) <= self.faulty else 0
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(tokens):
            writer.write(b"%x\r\n%b\r\n" % (len(_TOKEN), _TOKEN))
            await asyncio.sleep(_STEP_S)
        usage = b'data: {"choices": [], "usage": {"completion_tokens": %d}}\n\n' % tokens
        tail = usage + b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(tail), tail))
        await writer.drain()
        self._now -= 1
        writer.close()


async def _serve(port: int) -> None:
    async with await Server().listen(port) as listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))

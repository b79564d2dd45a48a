"""CPU of the token channel alone, both ends in one process.

.venv/bin/python -m bench.channel [--streams 32] [--frames 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time

from deployments.channel import Inbox, Outboxes, Subscription

_FRAME = (
    b'data: {"id":"chatcmpl-0","choices":[{"index":0,"delta":{"content":" token"}}]}'.ljust(248) + b"\n\n"
)
_LIMIT_BYTES = 64 * 2**20


async def measure(streams: int, frames: int) -> tuple[float, float]:
    """CPU microseconds per frame, and frames per second."""
    inbox, outboxes = Inbox("127.0.0.1"), Outboxes()

    async def produce(stream: Subscription) -> None:
        with outboxes.open(stream.address) as writer:
            for _ in range(frames):
                writer.write(_FRAME)
                await asyncio.sleep(0)
            stream.expect(writer.sent)

    async def consume(stream: Subscription) -> int:
        received = 0
        while (chunk := await stream.read()) is not None:
            received += len(chunk) // len(_FRAME)
        return received

    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(inbox.open(_LIMIT_BYTES)) for _ in range(streams)]
        cpu, wall = time.process_time(), time.perf_counter()
        producers = [produce(stream) for stream in opened]
        received, _ = await asyncio.gather(
            asyncio.gather(*(consume(stream) for stream in opened)), asyncio.gather(*producers)
        )
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    outboxes.close()
    inbox.close()
    total = streams * frames
    assert sum(received) == total
    return cpu / total * 1e6, total / wall


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description="CPU of the token channel alone.")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--frames", type=int, default=2000)
    options = parser.parse_args()
    cpu_us, rate = asyncio.run(measure(options.streams, options.frames))
    sys.stdout.write(f"{options.streams} streams: {cpu_us:.1f} us of CPU per frame, {rate:,.0f} frames/s\n")


if __name__ == "__main__":
    main()

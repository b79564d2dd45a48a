r"""Concurrent streams against a running application: throughput, time to first token, CPU of the framework.

    .venv/bin/qwen-serve up --config configs/simulated.yaml --port 8055 --state /tmp/bench  # prints a token
    .venv/bin/python -m bench.streams --url http://127.0.0.1:8055 --token TOKEN --model simulated-chat \
        --streams 32 --tokens 128 --rounds 5 --state /tmp/bench

Requests are bounded in number and go to the loopback address only. CPU is that of the application's
processes on this machine, by what they are; the client's own is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from cluster.local import processes, session

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_READ_BYTES = 1 << 16
_KINDS = {
    "haproxy": "haproxy",
    "ProxyActor": "Ray's proxy",
    "ServeReplica:qwen-serve:Ingress": "ingress",
    "ServeReplica:qwen-serve:ModelServer": "replica",
    "VLLM::EngineCore": "engine core",
}


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of streams took.

    Attributes:
        tokens_per_s: Over all streams.
        ttft_s: Of each stream.
    """

    tokens_per_s: float
    ttft_s: tuple[float, ...]


async def run_round(where: SplitResult, request: bytes, streams: int, tokens: int) -> Round:
    """Start all streams at once and read each to its end."""
    begun = time.perf_counter()
    firsts = await asyncio.gather(*(_stream(where, request, tokens) for _ in range(streams)))
    return Round(streams * tokens / (time.perf_counter() - begun), tuple(firsts))


async def _stream(where: SplitResult, request: bytes, tokens: int) -> float:
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    begun = time.perf_counter()
    writer.write(request)
    first, data = 0.0, bytearray()
    while part := await reader.read(_READ_BYTES):
        data += part
        if not first and b'"delta":{"content":' in data:
            first = time.perf_counter() - begun
    writer.close()
    text = _dechunked(bytes(data))
    if not text.endswith(b"data: [DONE]\n\n") or b'"completion_tokens":%d' % tokens not in text:
        raise SystemExit(f"a stream is not whole: {text[-300:]!r}")
    return first


def _dechunked(response: bytes) -> bytes:
    """The body of a response with chunked transfer coding."""
    body, rest = b"", response.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return body


def cpu_seconds(state: Path) -> Mapping[str, float]:
    """CPU that the application's processes have used so far, by kind, seconds."""
    current = session.recorded(state)
    if current is None:
        raise SystemExit(f"no application runs with --state {state}")
    used: dict[str, float] = {}
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    for process in processes.find(current.id):
        title = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode() or process.name
        kind = next((kind for part, kind in _KINDS.items() if part in title or part == process.name), "other")
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        used[kind] = used.get(kind, 0) + (int(fields[11]) + int(fields[12])) / ticks_per_s
    return used


def _request(where: SplitResult, token: str, model: str, tokens: int) -> bytes:
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": "Tell me a short story."}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def main() -> None:
    """Print one JSON object: medians over the rounds, after one round that is not counted."""
    parser = argparse.ArgumentParser(description="Concurrent streams against a running application.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--model", default="demo-chat")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--state", type=Path, default=Path(".qwen-serve"))
    options = parser.parse_args()
    where = urlsplit(options.url)
    if where.hostname not in _LOOPBACK:
        raise SystemExit("only an application on this machine is measured; give a loopback --url")
    request = _request(where, options.token, options.model, options.tokens)
    one = (where, request, options.streams, options.tokens)
    asyncio.run(run_round(*one))
    before = cpu_seconds(options.state)
    rounds = [asyncio.run(run_round(*one)) for _ in range(options.rounds)]
    after = cpu_seconds(options.state)
    total = options.rounds * options.streams * options.tokens
    ttft = sorted(first for each in rounds for first in each.ttft_s)
    result = {
        "streams": options.streams,
        "tokens_per_s": round(statistics.median(each.tokens_per_s for each in rounds)),
        "ttft_p50_ms": round(statistics.median(ttft) * 1000, 1),
        "ttft_p99_ms": round(ttft[min(len(ttft) - 1, int(len(ttft) * 0.99))] * 1000, 1),
        "cpu_us_per_token": {
            kind: round((used - before.get(kind, 0)) / total * 1e6, 1) for kind, used in sorted(after.items())
        },
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()

"""The load generator against a second one, aiohttp's client: `.venv/bin/python -m bench.crosscheck`.

Both put 32 clients on this project with the simulated engine at a pace that leaves the machine room, in turn,
and should see the same. Exit status 1 where a median differs by more than a tenth; times to first token may
also be a step of the engine apart, since a request waits for the end of one.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import aiohttp

from bench import lineup
from bench.endpoint import Endpoint
from bench.generator import generator
from bench.interruption import interruptible
from bench.peers.project import Project
from bench.quantile import quantile
from bench.stream import NotWhole

_CLIENTS = 32
_TOKENS = 192
_ROUNDS = 5
_STEP_S = 0.02
_MOST_DEVIATION = 0.1
_ANSWER_BOUND_S = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What one generator has seen of one round.

    Attributes:
        tokens_per_s: Over all clients.
        ttft_p50_ms: Median over the clients.
        itl_p50_ms: Median over all gaps between tokens.
    """

    tokens_per_s: float
    ttft_p50_ms: float
    itl_p50_ms: float


def ours(endpoint: Endpoint) -> Seen:
    """A round by `bench.load`."""
    with generator(endpoint, _CLIENTS, _TOKENS, seconds=0, most_requests=_CLIENTS) as ready:
        ready.go()
        report = ready.report()
    if report.failed:
        raise NotWhole(report.failure)
    return Seen(report.tokens / report.wall_s, report.ttft_p50_s * 1e3, report.itl_p50_s * 1e3)


def theirs(endpoint: Endpoint) -> Seen:
    """A round by aiohttp, in a process of its own too."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.crosscheck", "--round"],
        input=json.dumps(asdict(endpoint)),
        capture_output=True,
        text=True,
        check=True,
    )
    return Seen(**json.loads(done.stdout))


async def _round(endpoint: Endpoint) -> Seen:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=_ANSWER_BOUND_S)
    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(_note_sent)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trace_configs=[trace]) as session:
        begun = time.perf_counter()
        arrivals = await asyncio.gather(*(_arrivals(session, endpoint) for _ in range(_CLIENTS)))
        wall_s = time.perf_counter() - begun
    firsts = [times[1] - times[0] for times in arrivals]
    gaps = [later - former for times in arrivals for former, later in pairwise(times[1:])]
    return Seen(_CLIENTS * _TOKENS / wall_s, quantile(firsts, 0.5) * 1e3, quantile(gaps, 0.5) * 1e3)


async def _note_sent(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestChunkSentParams
) -> None:
    """The time counts from the request, not from the connection, as in `bench.load`."""
    del session, params
    context.trace_request_ctx.append(time.perf_counter())


async def _arrivals(session: aiohttp.ClientSession, endpoint: Endpoint) -> list[float]:
    """When the request went out, and when each of its tokens came in."""
    headers = {"authorization": f"Bearer {endpoint.token}", "content-type": "application/json"}
    times: list[float] = []
    url = f"{endpoint.base_url}/chat/completions"
    asking = session.post(url, data=endpoint.body(_TOKENS), headers=headers, trace_request_ctx=times)
    async with asking as answer:
        async for line in answer.content:
            if line.startswith(b"data: {") and _content(line):
                times.append(time.perf_counter())  # noqa: PERF401  (the time is the point)
    if len(times) != _TOKENS + 1:
        raise NotWhole(f"{len(times) - 1} tokens instead of {_TOKENS}")
    return times


def _content(line: bytes) -> bool:
    choices = json.loads(line.removeprefix(b"data: "))["choices"]
    return any(choice["delta"].get("content") for choice in choices)


def _compare(endpoint: Endpoint) -> bool:
    """Print both sides; whether they agree."""
    ours(endpoint)
    pairs = [(ours(endpoint), theirs(endpoint)) for _ in range(_ROUNDS)]
    agree = True
    for name, apart in (("tokens_per_s", 0.0), ("ttft_p50_ms", _STEP_S * 1e3), ("itl_p50_ms", 0.0)):
        one, other = (statistics.median(getattr(pair[side], name) for pair in pairs) for side in (0, 1))
        deviation = one / other - 1
        agree &= abs(deviation) <= _MOST_DEVIATION or abs(one - other) <= apart
        sys.stdout.write(f"{name}: bench.load {one:,.2f}, aiohttp {other:,.2f}, {deviation:+.1%}\n")
    return agree


def main() -> int:
    """Compare the two; `--round` is what this module calls itself with."""
    if sys.argv[1:] == ["--round"]:
        seen = asyncio.run(_round(Endpoint(**json.loads(sys.stdin.read()))))
        sys.stdout.write(json.dumps(asdict(seen)))
        return 0
    model = lineup.first_model(lineup.SIMULATED)
    project = Project(lineup.SIMULATED, model.id, simulation={"step_s": _STEP_S})
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="qs-bench-") as folder,
        project.running(Path(folder)) as running,
    ):
        return 0 if _compare(running.endpoint) else 1


if __name__ == "__main__":
    sys.exit(main())

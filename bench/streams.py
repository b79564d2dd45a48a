r"""Concurrent streams against an application that runs already: throughput, latency, CPU of the framework.

    .venv/bin/qwen-serve up --config configs/simulated.yaml --port 8055 --state /tmp/bench  # prints a token
    .venv/bin/python -m bench.streams --url http://127.0.0.1:8055 --token TOKEN --model simulated-chat \
        --streams 32 --tokens 128 --rounds 5 --state /tmp/bench

Prints one JSON object: medians over the rounds, after one round that is not counted. CPU is that of the
application's processes on this machine, by what they are; the client's own is not counted. `python -m bench`
measures it beside its peers.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from bench.endpoint import LOOPBACK, Endpoint
from bench.generator import LoadFailed
from bench.interruption import interruptible
from bench.peers.peer import Running
from bench.results import Cell
from bench.rounds import Plan, load
from cluster.local import session

_LOOPBACKS = {LOOPBACK, "localhost"}


def main() -> None:
    """Measure an application of this machine."""
    parser = argparse.ArgumentParser(description="Concurrent streams against a running application.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--model", default="demo-chat")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--state", type=Path, default=Path(".qwen-serve"))
    options = parser.parse_args()
    where, current = urlsplit(options.url), session.recorded(options.state)
    if where.hostname not in _LOOPBACKS or where.port is None:
        raise SystemExit(f"only an application on this machine is measured; --url http://{LOOPBACK}:<port>")
    if current is None:
        raise SystemExit(f"no application runs with --state {options.state}")
    running = Running(Endpoint(where.port, options.token, options.model), current.id, "as it was found")
    plan = Plan((options.streams,), options.tokens, seconds=0, rounds=options.rounds, idle_s=0)
    try:
        with interruptible():
            _, *rounds = (load(running, options.streams, plan) for _ in range(plan.rounds + 1))
    except LoadFailed as failure:
        raise SystemExit(f"error: {failure}") from failure
    cell = Cell(engine="real", peer="qwen-serve", clients=options.streams, rounds=tuple(rounds))
    sys.stdout.write(json.dumps(summary(cell)) + "\n")


def summary(cell: Cell) -> dict[str, object]:
    """Medians over the rounds of a cell."""
    kinds = sorted({kind for each in cell.rounds for kind in each.cpu_us_per_token_by_kind})
    return {
        "streams": cell.clients,
        "tokens_per_s": round(cell.median(lambda one: one.tokens_per_s)),
        "ttft_p50_ms": round(cell.median(lambda one: one.ttft_p50_ms), 1),
        "ttft_p99_ms": round(cell.median(lambda one: one.ttft_p99_ms), 1),
        "itl_p50_ms": round(cell.median(lambda one: one.itl_p50_ms), 2),
        "itl_p99_ms": round(cell.median(lambda one: one.itl_p99_ms), 2),
        "cpu_us_per_token": {
            kind: round(cell.median(lambda one, kind=kind: one.cpu_us_per_token_by_kind.get(kind, 0)), 1)  # type: ignore[misc]
            for kind in kinds
        },
    }


if __name__ == "__main__":
    main()

"""Whether memory stays flat: `.venv/bin/python -m bench.soak`, 50,000 short answers from this project.

With the simulated engine, 64 clients, 8 tokens an answer. Printed and judged is the memory that a process
shares with nobody; its proportional set size (PSS), which other programs change, stands beside it. Exit
status 1 where ingress, replica or HAProxy needs over a tenth more at the end than after 10,000 requests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import accounting, lineup
from bench.generator import LoadFailed, generator
from bench.interruption import interruptible
from bench.peers.peer import Running
from bench.peers.project import Project

KINDS = ("ingress", "replica", "haproxy")
"""What a request goes through, and so what a leak would show in."""

_CLIENTS = 64
_TOKENS = 8
_STEP_BOUND_S = 120.0
_BASELINE = 2
_MOST_GROWTH = 0.1
_MIB = 2**20

Memory = Mapping[str, float]
"""Bytes by kind."""


def growth(steps: Sequence[Memory]) -> dict[str, float]:
    """How much more memory each kind has after the last step than after the second, as a share of it."""
    base, last = steps[min(_BASELINE, len(steps)) - 1], steps[-1]
    return {kind: last[kind] / base[kind] - 1 for kind in KINDS if base.get(kind)}


def soak(running: Running, requests: int, each: int) -> list[Memory]:
    """Put the requests on, so many at a time, and look at the memory after each time; prints a line for each.

    Raises:
        LoadFailed: An answer was not whole.
    """
    steps: list[Memory] = []
    begun = time.monotonic()
    for done in range(each, requests + 1, each):
        with generator(running.endpoint, _CLIENTS, _TOKENS, _STEP_BOUND_S, each) as ready:
            ready.go()
            report = ready.report()
        if report.failed:
            raise LoadFailed(f"{report.failed} of {each} answers were not whole: {report.failure}")
        steps.append(accounting.private_bytes(running.session))
        shares = accounting.memory_bytes(running.session)
        sizes = ", ".join(
            f"{kind} {steps[-1].get(kind, 0) / _MIB:,.1f} (PSS {shares.get(kind, 0) / _MIB:,.1f}) MiB"
            for kind in KINDS
        )
        sys.stdout.write(
            f"{time.monotonic() - begun:5.0f} s  {done:6,} requests, "
            f"{report.requests / report.wall_s:,.0f}/s: {sizes}\n"
        )
        sys.stdout.flush()
    return steps


def main() -> int:
    """Soak and judge."""
    parser = argparse.ArgumentParser(description="Memory over many requests.")
    parser.add_argument("--requests", type=int, default=50_000, help="in all (default: 50000)")
    parser.add_argument("--each", type=int, default=5_000, help="between two looks (default: 5000)")
    options = parser.parse_args()
    project = Project(lineup.SIMULATED, lineup.first_model(lineup.SIMULATED).id)
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="qs-bench-") as folder,
        project.running(Path(folder)) as running,
    ):
        grown = growth(soak(running, options.requests, options.each))
    for kind, share in grown.items():
        verdict = "pass " if share <= _MOST_GROWTH else "SHORT"
        sys.stdout.write(f"{verdict}  {kind}: {share:+.1%} (at most {_MOST_GROWTH:+.0%})\n")
    return 0 if max(grown.values()) <= _MOST_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())

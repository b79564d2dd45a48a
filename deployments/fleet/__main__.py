"""Replays traffic against the fleet policy: `python -m deployments.fleet replay zipf --policy fleet keda`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from deployments.fleet.replay import study
from deployments.fleet.replay import trace as traces
from deployments.fleet.replay.run import OBJECTIVE_S, POLICIES, replay
from deployments.fleet.replay.scenario import Scenario, ten_models
from deployments.fleet.replay.table import render
from deployments.fleet.replay.trace import Trace, TraceError
from deployments.fleet.replay.traffic import GENERATORS, Traffic


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay traffic and print what came of it.

    Returns:
        The exit status: 0, or 1 with one line that says what is wrong.
    """
    options = _parser().parse_args(arguments)
    return int(options.run(options))


def _study(options: argparse.Namespace) -> int:
    which = study.cases(options.seeds, options.policy)
    for line in study.report(which, study.run(which, options.processes)):
        sys.stdout.write(f"{line}\n")
    return 0


def _replay(options: argparse.Namespace) -> int:
    scenario = ten_models(options.nodes, options.host_memory_gib)
    try:
        trace = _trace(options, scenario)
    except (TraceError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not trace:
        sys.stderr.write(f"{options.trace}: no requests\n")
        return 1
    if options.write:
        traces.write(options.write, trace)
    outcomes = [
        replay(policy, scenario, trace, options.objective_s, options.seed) for policy in options.policy
    ]
    Console(width=None if sys.stdout.isatty() else 180).print(render(outcomes, options.objective_s))
    if options.plot:
        from deployments.fleet.replay.plot import draw  # matplotlib comes with the development tools only

        draw(
            outcomes, f"{options.trace}, seed {options.seed}, {outcomes[0].requests:,} requests", options.plot
        )
    return 0


def _trace(options: argparse.Namespace, scenario: Scenario) -> Trace:
    if options.trace in GENERATORS:
        traffic = Traffic(
            requests=options.requests,
            exponent=options.exponent,
            open_loop=options.open_loop,
            seed=options.seed,
        )
        return GENERATORS[options.trace](scenario, traffic)
    return traces.read(Path(options.trace), scenario.names, options.exponent, options.seed)


def _parser() -> argparse.ArgumentParser:
    default = Traffic()
    parser = argparse.ArgumentParser(prog="python -m deployments.fleet", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _add_study(commands.add_parser("study", help="the fixed set of traces, as a Markdown table"))
    command = commands.add_parser("replay", help="a day in virtual time")
    command.set_defaults(run=_replay)
    add = command.add_argument
    add("trace", help=f"{', '.join(GENERATORS)}, or a CSV file (ours, or Azure's public LLM traces)")
    add("--policy", nargs="+", choices=POLICIES, default=list(POLICIES), help="which (all of them)")
    add("--requests", type=int, default=default.requests, help="about so many, made up (%(default)s)")
    add("--exponent", type=float, default=default.exponent, help="of Zipf's law (%(default)s)")
    add("--open-loop", action="store_true", help="requests of a session do not wait for answers")
    add("--seed", type=int, default=default.seed, help="the same gives the same (%(default)s)")
    add("--nodes", type=int, nargs="+", default=[4], metavar="GPUS", help="GPUs of each node (4)")
    add("--host-memory-gib", type=int, default=0, help="of a node, for models that sleep (none sleeps)")
    add("--objective-s", type=float, default=OBJECTIVE_S, help="for the first token (%(default)s)")
    add("--plot", type=Path, metavar="PNG", help="draw it")
    add("--write", type=Path, metavar="CSV", help="keep the trace")
    return parser


def _add_study(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[*study.SEEDS, *study.UNSEEN_SEEDS], help="(%(default)s)")
    add("--policy", nargs="+", choices=POLICIES, default=list(POLICIES), help="which (all of them)")
    add("--processes", type=int, default=os.cpu_count(), help="at once (%(default)s)")
    parser.set_defaults(run=_study)


if __name__ == "__main__":
    sys.exit(main())

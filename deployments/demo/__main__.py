"""Makes the demonstration models: `python -m deployments.demo --out models [--only demo-chat ...]`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from deployments.demo.checkpoint import CheckpointError
from deployments.demo.recipe import RECIPES
from deployments.demo.workshop import leave, make_missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the models that are not there yet.

    Returns:
        The exit status: 0, or 1 with one line that says what is wrong.
    """
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, leave)
    # A shell starts its background jobs with Ctrl-C ignored; whoever sends the signal by name still means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        make_missing([RECIPES[name] for name in options.only or RECIPES], options.out, options.jobs)
    except CheckpointError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models"), help="folder of the models (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(RECIPES), metavar="NAME", help="make only these")
    parser.add_argument(
        "--jobs", type=int, default=2, help="models made side by side, a core each (%(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Everything side by side in one run: `make bench`, which is `.venv/bin/python -m bench`.

Prints a table and whether the promises hold, writes `bench/results/<date>-<machine>.json` and, beside it, a
plot. All peers run on the loopback address of this machine, and all end with the run. Exit status: 0 even
where a promise is not kept, as a busy machine can break one; 1 where something could not be measured; 130 on
Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import claims, environment, lineup, machine, plot, rounds, table
from bench.environment import EnvironmentFailed
from bench.generator import LoadFailed
from bench.interruption import interruptible
from bench.peers.peer import PeerFailed
from bench.results import Results
from bench.rounds import Measured, Plan

_LINES = {"simulated": lineup.simulated, "real": lineup.real}
_CLIENTS = {"simulated": (1, 32, 128, 256), "real": (1, 8, 32)}
_QUICK_CLIENTS = (1, 32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = _options(arguments)
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:5.0f} s  {text}\n")

    try:
        with interruptible(), tempfile.TemporaryDirectory(prefix="qs-bench-") as folder:
            environment.prepare()
            results = _run(options, Path(folder), say)
    except (PeerFailed, LoadFailed, EnvironmentFailed) as failure:
        sys.stderr.write(f"error: {failure}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing is left\n")
        return 130
    sys.stdout.write(f"{table.render(results)}\n{table.render_verdicts(results.verdicts)}\n")
    sys.stdout.writelines(table.render_notes(results))
    file = results.write(options.out)
    picture = file.with_suffix(".png")
    plot.draw(results, picture)
    sys.stdout.write(f"\nwritten: {file}, {picture}\n")
    return 0


def _run(options: argparse.Namespace, folder: Path, say: rounds.Say) -> Results:
    started, described = datetime.now(UTC), machine.describe()
    engines = ("simulated",) if options.quick else _LINES if options.only is None else (options.only,)
    measured = [_measure(engine, options, folder / engine, say) for engine in engines]
    results = Results(
        started=started.isoformat(timespec="seconds"),
        machine=described,
        versions=machine.versions(environment.LOCK),
        settings={"rounds": options.rounds, "seconds": options.seconds, "tokens": options.tokens},
        peers=tuple(note for part in measured for note in part.notes),
        cells=tuple(cell for part in measured for cell in part.cells),
    )
    verdicts = () if options.quick else claims.verdicts(results)
    return results.model_copy(update={"verdicts": verdicts})


def _measure(engine: str, options: argparse.Namespace, folder: Path, say: rounds.Say) -> Measured:
    clients = _QUICK_CLIENTS if options.quick else _CLIENTS[engine]
    plan = Plan(clients, options.tokens, options.seconds, options.rounds, idle_s=options.idle)
    with rounds.started(folder, say) as start:
        return rounds.measure("real" if engine == "real" else "simulated", _LINES[engine](start), plan, say)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Every peer side by side, in one run."
    )
    parser.add_argument("--only", choices=sorted(_LINES), help="one engine instead of both")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer (default: 5)")
    parser.add_argument("--seconds", type=float, default=3, help="length of a load (default: 3)")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of an answer (default: 128)")
    parser.add_argument("--idle", type=float, default=10, help="seconds to watch idle peers (default: 10)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="folder for the results")
    quick = "one short round with the simulated engine, which judges nothing, to see that everything works"
    parser.add_argument("--quick", action="store_true", help=quick)
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.tokens, options.idle = 1, 0.0, 16, 1.0
    return options


if __name__ == "__main__":
    sys.exit(main())

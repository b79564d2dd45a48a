"""The property test at length: ``python -m tests.unit.serve_app.filtering.long_run --chunkings 1000000``."""

from __future__ import annotations

import argparse
import random
import sys

from tests.unit.serve_app.filtering.answers import check_answer
from tests.unit.serve_app.filtering.chunkings import case_of, check_text, text_of

TEXTS = 8
TIMES = 6
ANSWERS = 4
WAYS = 3


def run(seed: int, chunkings: int) -> int:
    """Check at least so many chunkings; returns how many.

    Raises:
        AssertionError: With the text and the lexicon for which the filter is wrong.
    """
    done = 0
    while done < chunkings:
        chance = random.Random(f"{seed} {done}")  # noqa: S311
        case = case_of(chance)
        for _ in range(TEXTS):
            text = text_of(chance, case)
            for _ in range(TIMES):
                check_text(chance, case, text)
        for _ in range(ANSWERS):
            check_answer(chance, case)
        done += TEXTS * TIMES + ANSWERS * WAYS
    return done


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description="Filter random texts in random pieces.")
    parser.add_argument("--chunkings", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.stdout.write(f"{run(options.seed, options.chunkings)} chunkings, all right\n")


if __name__ == "__main__":
    main()

"""The workshop: makes the models that are missing, side by side, a process and a core each."""

import multiprocessing
import signal
import sys
from collections.abc import Iterable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deployments.demo.checkpoint import CheckpointError, is_current, write_checkpoint
from deployments.demo.progress import Progress
from deployments.demo.recipe import Recipe

__all__ = ["leave", "make", "make_missing"]


def make_missing(recipes: Iterable[Recipe], out: Path, jobs: int) -> None:
    """Make what is missing, changed or broken; leave alone what the same recipe has made before.

    Args:
        recipes: the models wanted.
        out: the folder that holds a folder for each.
        jobs: how many are made at a time; each takes one core and about 1 GiB of memory.

    Raises:
        CheckpointError: a folder cannot be written, or a process failed.
    """
    missing = [recipe for recipe in recipes if not _is_there(recipe, out)]
    if min(jobs, len(missing)) < 2:
        for recipe in missing:
            make(recipe, out)
    else:
        _make_side_by_side(missing, out, jobs)


def make(recipe: Recipe, out: Path) -> None:
    """Make one model and put it into its folder under `out`.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    progress = Progress(recipe.name)

    def fill(work: Path) -> None:
        # Only now: torch and transformers take seconds to import.
        from deployments.demo.pipeline import build

        build(recipe, work, progress)

    write_checkpoint(out / recipe.name, recipe.digest(), fill)
    progress.say(f"written to {out / recipe.name}")


def leave(signal_number: int, _frame: FrameType | None = None) -> NoReturn:
    """End the process on a signal by an exception, so that half-written folders are removed."""
    sys.exit(128 + signal_number)


def _make_side_by_side(recipes: Sequence[Recipe], out: Path, jobs: int) -> None:
    """Run a process per model, `jobs` at a time; none outlives this call, however it ends.

    Not an executor: a worker of one takes an interruption for a task's failure and begins the next task.
    """
    context = multiprocessing.get_context("spawn")
    waiting = [
        context.Process(target=_make_apart, args=(recipe, out), name=recipe.name, daemon=True)
        for recipe in recipes
    ]
    running: list[BaseProcess] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                running[-1].start()
            wait([process.sentinel for process in running])
            for process in [process for process in running if not process.is_alive()]:
                running.remove(process)
                _check(process)
    finally:
        for process in running:
            process.terminate()
            process.join()


def _make_apart(recipe: Recipe, out: Path) -> None:
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    try:
        make(recipe, out)
    except CheckpointError as error:
        sys.exit(str(error))


def _check(process: BaseProcess) -> None:
    code = process.exitcode or 0
    if code < 0:
        raise CheckpointError(
            f"making {process.name} was ended by signal {-code}, perhaps for want of memory: "
            "free some or use --jobs 1"
        )
    if code > 0:
        raise CheckpointError(f"{process.name} was not made: see above")


def _is_there(recipe: Recipe, out: Path) -> bool:
    there = is_current(out / recipe.name, recipe.digest())
    if there:
        Progress(recipe.name).say("is there already")
    return there

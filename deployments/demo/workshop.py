"""The workshop: makes the models that are missing, side by side, a process and a core each."""

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from deployments.demo.checkpoint import CheckpointError, is_current, write_checkpoint
from deployments.demo.progress import Progress
from deployments.demo.recipe import Recipe

__all__ = ["make", "make_missing"]


def make_missing(recipes: Iterable[Recipe], out: Path, jobs: int) -> None:
    """Make what is missing, changed or broken; leave alone what the same recipe has made before.

    Args:
        recipes: the models wanted.
        out: the folder that holds a folder for each.
        jobs: how many are made at a time; each takes one core and about 1 GiB of memory.

    Raises:
        CheckpointError: a folder cannot be written, or a process was killed.
    """
    missing = [recipe for recipe in recipes if not _is_there(recipe, out)]
    if min(jobs, len(missing)) < 2:
        for recipe in missing:
            make(recipe, out)
        return
    try:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            list(pool.map(make, missing, [out] * len(missing)))
    except BrokenProcessPool as error:
        raise CheckpointError(
            "a process that made a model was killed, probably for want of memory; free some or use --jobs 1"
        ) from error


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


def _is_there(recipe: Recipe, out: Path) -> bool:
    there = is_current(out / recipe.name, recipe.digest())
    if there:
        Progress(recipe.name).say("is there already")
    return there

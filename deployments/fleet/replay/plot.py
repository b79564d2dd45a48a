"""Outcomes as a picture: GPUs in use over the day, and cost against quality."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deployments.fleet.replay.outcome import Outcome

_SIZE_INCHES = (13.0, 4.0)
_BUCKET_S = 300.0
"""GPUs are drawn as means of so long: each load and stop would hide the day's shape."""


def draw(outcomes: Sequence[Outcome], title: str, path: Path) -> None:
    """Write a PNG."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    usage, cost = figure.subplots(1, 2, width_ratios=(2, 1))
    for one in outcomes:
        hours, gpus = _means(one.usage)
        usage.plot(hours, gpus, label=one.policy, linewidth=1)
    usage.set(xlabel="hour", ylabel="GPUs in use", ylim=(0, None))
    usage.grid(visible=True, alpha=0.3)
    usage.legend(fontsize="small")
    _points(cost, outcomes)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def _points(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    for one in outcomes:
        (line,) = axes.plot(one.gpu_hours, 100 * one.met_all, "o", label=one.policy)
        axes.plot(one.gpu_hours, 100 * one.met_worst, "v", color=line.get_color())
    axes.set(xlabel="GPU-hours", ylabel="first token in time, %", title="o all requests, v worst model")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")


def _means(steps: Sequence[tuple[float, int]]) -> tuple[list[float], list[float]]:
    """Of steps (seconds, GPUs): bucket starts in hours, and mean GPUs in them."""
    sums = [0.0] * (int(steps[-1][0] // _BUCKET_S) + 1)
    for (since, gpus), (until, _) in pairwise(steps):
        for bucket in range(int(since // _BUCKET_S), int(until // _BUCKET_S) + 1):
            start = bucket * _BUCKET_S
            sums[bucket] += gpus * max(0.0, min(until, start + _BUCKET_S) - max(since, start))
    # The last step has no end: its bucket is left out.
    whole = max(1, len(sums) - 1)
    return [index * _BUCKET_S / 3600 for index in range(whole)], [each / _BUCKET_S for each in sums[:whole]]

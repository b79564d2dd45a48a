"""Cost against load as a picture: own machines in steps, the public API in a line."""

from __future__ import annotations

import textwrap
from pathlib import Path

from cluster.plan.failure import PlanFailed
from cluster.plan.plan import Plan, scaled

_FACTORS = tuple(round(0.1 * step, 1) for step in range(1, 31))


_TITLE_SIGNS = 100


def curve(plan: Plan, factors: tuple[float, ...] = _FACTORS) -> list[tuple[float, float, float | None]]:
    """Cost at multiples of the load: the factor, own machines a month, the public API a month; CNY.

    The public API's is of the models whose price is known; none where no load is a rate.
    """
    points = []
    for factor in factors:
        try:
            one = scaled(plan, factor)
        except PlanFailed:
            continue
        assert one.mix.bill is not None
        known = [each.cny_per_month for each in one.comparisons if each and each.cny_per_month is not None]
        points.append((factor, one.mix.bill.per_month, sum(known) if known else None))
    return points


def draw(plan: Plan, path: Path) -> None:
    """Write a PNG.

    Raises:
        PlanFailed: There are no prices to draw; or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if plan.mix.bill is None:
        raise PlanFailed("no price is known of these GPUs: there is no cost to draw")
    points = curve(plan)
    figure = Figure(figsize=(8.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    factors = [factor for factor, _, _ in points]
    axes.step(factors, [own for _, own, _ in points], where="pre", label="own machines")
    if all(public is not None for _, _, public in points):
        axes.plot(factors, [public or 0.0 for _, _, public in points], label=_public_label(plan))
    names = ", ".join(one.placement.subject.id for one in plan.mix.choices)
    axes.set(xlabel="load, times the requirements", ylabel="CNY a month", ylim=(0, None))
    axes.set_title(textwrap.fill(names, _TITLE_SIGNS), fontsize="small")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise PlanFailed(f"{path}: cannot be written: {error.strerror}") from error


def _public_label(plan: Plan) -> str:
    unknown = [
        choice.placement.subject.id
        for choice, one in zip(plan.mix.choices, plan.comparisons, strict=True)
        if one is None
    ]
    return f"public API, without {', '.join(unknown)}" if unknown else "public API, same tokens"

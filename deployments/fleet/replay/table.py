"""Outcomes as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from deployments.config import ModelKind
from deployments.fleet.replay.outcome import Outcome


def render(outcomes: Sequence[Outcome], objective_s: float) -> Table:
    """A row for each policy."""
    table = Table(title=f"{outcomes[0].requests:,} requests; first token within {objective_s:g} s")
    table.add_column("policy")
    kinds = [kind for kind in ModelKind if kind in outcomes[0].met_by_kind]
    columns = (
        *("GPU-hours", "of shares", "hot", "all", *kinds, "worst model", "given up"),
        *("cold starts", "evictions", "wait p99, s", "wait max, s"),
    )
    for column in columns:
        table.add_column(column, justify="right")
    for one in outcomes:
        evictions = "-" if one.evictions is None else str(one.evictions)
        table.add_row(
            one.policy,
            f"{one.gpu_hours:.1f}",
            f"{one.share_hours:.1f}",
            *(f"{share:.2%}" for share in (one.met_hot, one.met_all)),
            *(f"{one.met_by_kind[kind]:.2%}" for kind in kinds),
            f"{one.met_worst:.1%}",
            *(str(one.unserved), str(one.cold_starts), evictions),
            *(f"{one.wait_p99_s:.0f}", f"{one.wait_max_s:.0f}"),
        )
    return table

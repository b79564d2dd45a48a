"""Panels and dashboards in this project's manner, over Grafana's foundation SDK.

Expressions may hold ``$__rate_interval``, which Grafana fills in, and a dashboard's own variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)

Panel: TypeAlias = timeseries.Panel | stat.Panel

SECONDS: Final = units.Seconds
SHARE: Final = units.PercentUnit
BYTES: Final = units.BytesIEC
MEBIBYTES: Final = units.Mebibytes
COUNT: Final = units.Short
PER_SECOND: Final = units.RequestsPerSecond
CNY: Final = "currencyCNY"
WATTS: Final = units.Watt
CELSIUS: Final = units.Celsius

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT: Final = 8
_THIRD: Final = 8
_FIGURE_WIDTH: Final = 4
_FIGURE_HEIGHT: Final = 4


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and what its lines are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard: the values of a label.

    Attributes:
        name: Also of the label.
        series: Whose label it is.
    """

    name: str
    series: str


def lines(title: str, unit: str, *queries: Query, about: str = "", stacked: bool = False) -> Panel:
    """A panel of lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .unit(unit)
        .height(_HEIGHT)
        .span(_THIRD)
        .min(0)
        .fill_opacity(20 if stacked else 0)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    if stacked:
        panel.stacking(StackingConfig().mode(common.StackingMode.NORMAL))
    for number, query in enumerate(queries):
        panel.with_target(_target(query, number))
    return panel


def figure(  # noqa: PLR0913  (the last three say when it is bad)
    title: str,
    unit: str,
    query: Query,
    *,
    about: str = "",
    bad_from: float | None = None,
    bad_below: float | None = None,
) -> Panel:
    """A panel of one figure as of now; red from, or below, a bound."""
    steps = [Threshold(color="green", value=None)]
    if bad_from is not None:
        steps.append(Threshold(color="red", value=bad_from))
    if bad_below is not None:
        steps = [Threshold(color="red", value=None), Threshold(color="green", value=bad_below)]
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .unit(unit)
        .height(_FIGURE_HEIGHT)
        .span(_FIGURE_WIDTH)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_target(query, 0).instant())
    )


def render(uid: str, title: str, rows: Sequence[Row], variables: Sequence[Variable] = ()) -> str:
    """A dashboard as the JSON that Grafana imports.

    Args:
        uid: Stays, so that an import replaces the last one.
        title: For people.
        rows: From top to bottom.
        variables: What can be chosen, beside the data source.
    """
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["qwen-serve"])
        .editable()
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for variable in variables:
        made.with_variable(_choice(variable))
    for row in rows:
        made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            made.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _target(query: Query, number: int) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expr)
        .legend_format(query.legend or "__auto")
        .ref_id(chr(ord("A") + number))
    )


def _choice(variable: Variable) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(variable.name)
        .datasource(_SOURCE)
        .query(f"label_values({variable.series}, {variable.name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .include_all(True)
        .all_value(".*")
        .multi(True)
    )

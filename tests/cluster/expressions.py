"""Every PromQL expression of this project, and the names of the series in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "cluster" / "monitoring"
RULES = FOLDER / "rules"
DASHBOARDS = FOLDER / "dashboards"

_GRAFANA = {"$__rate_interval": "5m", "$__range": "1h"}
_VARIABLE = re.compile(r"\$(model|tenant)\b")


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression.

    Attributes:
        where: File, and rule or panel.
        text: As Prometheus takes it, with Grafana's variables filled in.
    """

    where: str
    text: str

    def names(self) -> frozenset[str]:
        """The series that it reads."""
        return frozenset(_names(promql_parser.parse(self.text)))


def rules() -> list[dict[str, Any]]:
    """All rules, in their order."""
    files = sorted(RULES.glob("*.yaml"))
    groups = (group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"])
    return [rule for group in groups for rule in group["rules"]]


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels of a dashboard that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def everywhere() -> list[Expression]:
    """All expressions of rules and dashboards."""
    found = [Expression(f"rules: {rule.get('alert') or rule['record']}", rule["expr"]) for rule in rules()]
    for file in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(file.read_text(encoding="utf-8"))
        found += [
            Expression(f"{file.name}: {panel['title']}", _filled(target["expr"]))
            for panel in panels(dashboard)
            for target in panel["targets"]
        ]
    return found


def _filled(text: str) -> str:
    for variable, value in _GRAFANA.items():
        text = text.replace(variable, value)
    return _VARIABLE.sub(".*", text)


def _names(node: Any) -> Iterator[str]:
    match node:
        case promql_parser.VectorSelector():
            assert node.name, "a selector without a name"
            yield node.name
        case promql_parser.MatrixSelector():
            yield from _names(node.vector_selector)
        case promql_parser.BinaryExpr():
            yield from _names(node.lhs)
            yield from _names(node.rhs)
        case promql_parser.AggregateExpr() | promql_parser.UnaryExpr() | promql_parser.ParenExpr():
            yield from _names(node.expr)
        case promql_parser.SubqueryExpr():
            yield from _names(node.expr)
        case promql_parser.Call():
            for argument in node.args:
                yield from _names(argument)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            pass
        case _:
            raise TypeError(f"an expression of an unknown kind: {type(node).__name__}")

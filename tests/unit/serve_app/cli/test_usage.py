"""``qwen-serve usage`` against a real server."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import pytest

from serve_app.registry.operations import Report
from serve_app.store import UsageRow
from tests.unit.serve_app.cli.conftest import Operator

DAY = 20_758 * 86_400  # 2026-11-01
ROWS = (
    UsageRow(DAY, "research", "zhangsan", "", "chat", "chat", 3, 2_000_000, 1_000_000),
    UsageRow(DAY + 86_400, "sales", "=1+1", "", "demo", "chat", 1, 7, 3),
)


@pytest.fixture(autouse=True)
def _used(operator: Operator) -> None:
    # The server has not opened its database yet, so this loop may.
    asyncio.run(operator.registry.run(Report(0, {}, "flush", ROWS)))


def test_table_has_costs_savings_and_a_total(operator: Operator) -> None:
    result = operator.run("usage", "--by", "tenant,model")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert ["research", "chat", "3", "2,000,000", "1,000,000", "1.20", "14.40", "13.20"] in lines
    assert ["sales", "demo", "1", "7", "3", "0.00", "-", "-"] in lines
    assert ["total", "4", "2,000,007", "1,000,003", "1.20", "14.40", "13.20"] in lines
    assert "counted as free: demo" in result.stderr


def test_days_and_filters_are_passed_on(operator: Operator) -> None:
    days = ("--since", "2026-11-01", "--until", "2026-11-02", "--utc-offset", "+08:00")
    answer = json.loads(operator.says("usage", "--by", "day", *days, "--json"))
    assert [(line["day"], line["requests"]) for line in answer["data"]] == [("2026-11-01", 3)]
    assert json.loads(operator.says("usage", "--user", "=1+1", "--json"))["total"]["requests"] == 1


def test_csv_is_for_a_spreadsheet(operator: Operator) -> None:
    heading, *lines = csv.reader(io.StringIO(operator.says("usage", "--by", "user", "--csv")))
    assert heading[:2] == ["user", "requests"]
    assert [line[0] for line in lines] == ["'=1+1", "zhangsan"]


def test_wrong_parameter_is_said_in_one_line(operator: Operator) -> None:
    error = operator.fails("usage", "--by", "city")
    assert "tenant,user,model,day" in error
    assert error.count("\n") == 1

"""/admin/v1/usage."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from serve_app.registry import RegistryClient
from serve_app.registry.operations import Report
from serve_app.store import UsageRow

FORMULA = '=HYPERLINK("http://x")'


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def row(
    hour: str,
    tenant: str = "research",
    user: str = "zhangsan",
    model: str = "chat",
    prompt: int = 1_000_000,
    completion: int = 500_000,
) -> UsageRow:
    return UsageRow(at(hour), tenant, user, "", model, "chat", 1, prompt, completion)


@pytest.fixture(autouse=True)
async def _used(registry: RegistryClient) -> None:
    rows = (
        row("2026-11-01T15:00"),
        row("2026-11-01T16:00"),
        row("2026-11-02T10:00", user="lisi", model="embed", prompt=100, completion=0),
        row("2026-11-02T10:00", tenant="sales", user=FORMULA, model="demo", prompt=7, completion=3),
    )
    await registry.run(Report(0, {}, "flush", rows))


async def asked(admin: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await admin.get("/usage", params=query)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def test_usage_is_told_by_tenant_user_and_model_with_its_cost(admin: httpx.AsyncClient) -> None:
    answer = await asked(admin)
    assert answer["by"] == ["tenant", "user", "model"]
    by_model = {line["model"]: line for line in answer["data"]}
    assert by_model["chat"] == {
        "tenant": "research",
        "user": "zhangsan",
        "model": "chat",
        "requests": 2,
        "prompt_tokens": 2_000_000,
        "completion_tokens": 1_000_000,
        "cost_cny": 1.2,
        "public_cost_cny": 14.4,
        "saving_cny": 13.2,
        "unpriced_tokens": 0,
    }
    assert (by_model["embed"]["cost_cny"], by_model["embed"]["saving_cny"]) == (0.00001, None)
    assert (by_model["demo"]["cost_cny"], by_model["demo"]["unpriced_tokens"]) == (0, 10)
    assert answer["total"]["cost_cny"] == 1.20001
    assert answer["models_without_price"] == ["demo"]
    assert answer["models_without_public_price"] == ["demo", "embed"]


async def test_cost_is_right_where_models_are_not_told_apart(admin: httpx.AsyncClient) -> None:
    answer = await asked(admin, by="tenant")
    assert [(line["tenant"], line["requests"], line["cost_cny"]) for line in answer["data"]] == [
        ("research", 3, 1.20001),
        ("sales", 1, 0),
    ]


@pytest.mark.parametrize(
    ("offset", "days"),
    [
        ("Z", {"2026-11-01": 2, "2026-11-02": 2}),
        ("+08:00", {"2026-11-01": 1, "2026-11-02": 3}),
        ("-08:00", {"2026-11-01": 2, "2026-11-02": 2}),
    ],
)
async def test_days_begin_where_the_offset_says(
    admin: httpx.AsyncClient, offset: str, days: dict[str, int]
) -> None:
    answer = await asked(admin, by="day", utc_offset=offset)
    assert {line["day"]: line["requests"] for line in answer["data"]} == days
    # The same bounds: a day alone is what it is among others.
    for day, requests in days.items():
        until = "2026-11-02" if day == "2026-11-01" else "2026-11-03"
        alone = await asked(admin, by="day", since=day, until=until, utc_offset=offset)
        assert [(line["day"], line["requests"]) for line in alone["data"]] == [(day, requests)]


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ({"tenant": "sales"}, 1),
        ({"user": "zhangsan"}, 2),
        ({"model": "embed", "tenant": ""}, 1),
        ({"model": "nothing"}, 0),
    ],
)
async def test_usage_is_of_what_was_asked_for(
    admin: httpx.AsyncClient, query: dict[str, str], requests: int
) -> None:
    assert (await asked(admin, **query))["total"]["requests"] == requests


async def test_csv_has_the_same_lines_and_no_formula(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/usage", params={"by": "user,day", "format": "csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "usage.csv" in answer.headers["content-disposition"]
    heading, *lines = csv.reader(io.StringIO(answer.text))
    assert heading[:3] == ["user", "day", "requests"]
    assert lines == [
        ["'" + FORMULA, "2026-11-02", "1", "7", "3", "0.000000", "", "", "10"],
        ["lisi", "2026-11-02", "1", "100", "0", "0.000010", "", "", "0"],
        ["zhangsan", "2026-11-01", "2", "2000000", "1000000", "1.200000", "14.400000", "13.200000", "0"],
    ]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"by": "tenant,city"}, "by"),
        ({"by": "tenant,tenant"}, "by"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-02-30"}, "since"),
        ({"since": "2026-11-02", "until": "2026-11-02"}, "until"),
        ({"utc_offset": "+05:30"}, "utc_offset"),
        ({"utc_offset": "CST"}, "utc_offset"),
        ({"format": "xls"}, "format"),
        ({"tenant": "a\0"}, "tenant"),
    ],
)
async def test_parameter_that_is_wrong_is_named(
    admin: httpx.AsyncClient, query: dict[str, str], param: str
) -> None:
    answer = await admin.get("/usage", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)

"""/admin/v1/limits."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

LIMIT = {"scope": "user", "name": "zhangsan", "tenant": "research", "limit": "tokens_per_day"}


async def listed(admin: httpx.AsyncClient, source: str) -> list[dict[str, Any]]:
    data = (await admin.get("/limits")).json()["data"]
    return [limit for limit in data if limit["source"] == source]


async def test_configured_limits_are_listed_one_by_one(admin: httpx.AsyncClient) -> None:
    shown = [
        (limit["scope"], limit["name"], limit["role"], limit["model"], limit["limit"], limit["value"])
        for limit in await listed(admin, "configuration")
    ]
    assert shown == [
        ("user", "*", None, None, "requests_per_minute", 60),
        ("user", "*", None, None, "tokens_per_day", 100_000),
        ("tenant", "research", "user", "chat", "tokens_per_minute", 5000),
    ]


async def test_limit_is_set_raised_and_unset(admin: httpx.AsyncClient) -> None:
    for value in (1000, 2000):
        answer = await admin.put("/limits", json={**LIMIT, "value": value})
        assert answer.status_code == 200
    (limit,) = await listed(admin, "administrator")
    assert answer.json() == limit
    assert {name: limit[name] for name in LIMIT} == LIMIT
    assert (limit["value"], limit["model"], limit["updated_by"]) == (2000, None, "root")
    assert abs(limit["updated_at"] - time.time()) < 60

    assert (await admin.delete("/limits", params=LIMIT)).json()["deleted"]
    assert await listed(admin, "administrator") == []
    gone = await admin.delete("/limits", params=LIMIT)
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_found")


async def test_limit_of_one_model_is_another_than_of_all(admin: httpx.AsyncClient) -> None:
    await admin.put("/limits", json={**LIMIT, "value": 1})
    await admin.put("/limits", json={**LIMIT, "model": "chat", "value": 2})
    await admin.delete("/limits", params=LIMIT)
    (left,) = await listed(admin, "administrator")
    assert (left["model"], left["value"]) == ("chat", 2)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"scope": "city"}, "scope"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"limit": "tokens_per_hour"}, "limit"),
        ({"value": 0}, "value"),
        ({"value": 10**13}, "value"),
        ({"model": "a b"}, "model"),
        ({"scope": "model", "model": "chat"}, "model"),
    ],
)
async def test_field_that_is_wrong_is_named(
    admin: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    answer = await admin.put("/limits", json={**LIMIT, "value": 1, **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert await listed(admin, "administrator") == []

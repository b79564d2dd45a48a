"""/admin/v1/keys and /admin/v1/revocations."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from serve_app.auth import keys
from serve_app.auth.credentials import Credentials
from serve_app.registry import RegistryClient
from serve_app.registry.operations import Report

NEW = {"name": "laptop", "subject": "zhangsan", "tenant": "research"}


async def made(admin: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await admin.post("/keys", json={**NEW, **fields})
    assert answer.status_code == 201, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def holds(registry: RegistryClient, *secrets: str) -> list[bool]:
    """Whether a replica that learns of the keys now takes these."""
    credentials = Credentials(60)
    state = await registry.run(Report(0, {}, "", ()))
    credentials.apply(state.changes, time.monotonic())
    return [credentials.find(secret) is not None for secret in secrets]


async def test_key_is_made_shown_once_and_taken(admin: httpx.AsyncClient, registry: RegistryClient) -> None:
    expires_at = time.time() + 90 * 86_400
    key = await made(
        admin, roles=["user", "batch"], expires_at=expires_at, models=["qwen*"], addresses=["10.0.0.0/8"]
    )
    secret = key.pop("key")
    assert keys.digest(secret) is not None
    assert (key["roles"], key["models"], key["addresses"]) == (["batch", "user"], ["qwen*"], ["10.0.0.0/8"])
    assert (key["expires_at"], key["active"], key["hint"]) == (expires_at, True, secret[-4:])
    assert await holds(registry, secret) == [True]

    assert (await admin.get(f"/keys/{key['id']}")).json() == key
    listed = await admin.get("/keys")
    assert listed.json()["data"] == [key]
    assert secret not in listed.text
    assert "digest" not in listed.text


async def test_keys_are_listed_by_tenant(admin: httpx.AsyncClient) -> None:
    await made(admin)
    sales = await made(admin, tenant="sales")
    listed = (await admin.get("/keys", params={"tenant": "sales"})).json()["data"]
    assert [key["id"] for key in listed] == [sales["id"]]


async def test_rotation_leaves_the_old_secret_its_grace(
    admin: httpx.AsyncClient, registry: RegistryClient
) -> None:
    key = await made(admin)
    rotated = (await admin.post(f"/keys/{key['id']}/rotate", json={"grace_s": 60})).json()
    assert rotated["id"] == key["id"]
    assert 0 < rotated["previous_expires_at"] - time.time() <= 60
    assert await holds(registry, key["key"], rotated["key"]) == [True, True]
    at_once = (await admin.post(f"/keys/{key['id']}/rotate", json={"grace_s": 0})).json()
    assert await holds(registry, key["key"], rotated["key"], at_once["key"]) == [False, False, True]


async def test_rotation_without_a_body_has_an_hour_of_grace(admin: httpx.AsyncClient) -> None:
    key = await made(admin)
    rotated = (await admin.post(f"/keys/{key['id']}/rotate")).json()
    assert 3500 < rotated["previous_expires_at"] - time.time() <= 3600


async def test_revoked_key_ends_stays_on_record_and_frees_its_name(
    admin: httpx.AsyncClient, registry: RegistryClient
) -> None:
    key = await made(admin)
    revoked = (await admin.delete(f"/keys/{key['id']}")).json()
    assert revoked["revoked_at"]
    assert not revoked["active"]
    assert await holds(registry, key["key"]) == [False]
    assert (await admin.get("/keys")).json()["data"] == []
    assert (await admin.get(f"/keys/{key['id']}")).json() == revoked

    again = await admin.post(f"/keys/{key['id']}/rotate", json={})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    await made(admin)


async def test_name_that_is_taken_is_a_conflict_that_names_the_field(admin: httpx.AsyncClient) -> None:
    await made(admin)
    answer = await admin.post("/keys", json=NEW)
    assert answer.status_code == 409
    assert answer.json()["error"]["param"] == "name"
    assert "choose another name" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"subject": None}, "subject"),
        ({"subject": "a b"}, "subject"),
        ({"tenant": "-"}, "tenant"),
        ({"roles": ["user", "a b"]}, "roles[1]"),
        ({"roles": ["user", "root"]}, "roles"),
        ({"models": []}, "models"),
        ({"addresses": ["10.0.0.1/8"]}, "addresses[0]"),
        ({"expires_at": 1000}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
    ],
)
async def test_field_that_is_wrong_is_named(
    admin: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    answer = await admin.post("/keys", json={**NEW, **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_unknown_field_is_refused_with_the_nearest_name(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/keys", json={**NEW, "role": ["admin"]})
    assert answer.status_code == 400
    assert "did you mean 'roles'?" in answer.json()["error"]["message"]


@pytest.mark.parametrize("key_id", ["key_" + "0" * 24, "%00", "..%2Fkeys", "x" * 500])
async def test_key_that_is_not_there_is_404(admin: httpx.AsyncClient, key_id: str) -> None:
    for answer in (
        await admin.get(f"/keys/{key_id}"),
        await admin.delete(f"/keys/{key_id}"),
        await admin.post(f"/keys/{key_id}/rotate", json={}),
    ):
        assert answer.status_code == 404


@pytest.mark.parametrize("grace_s", [-1, 10**9, "soon"])
async def test_grace_that_is_none_is_refused(admin: httpx.AsyncClient, grace_s: Any) -> None:
    answer = await admin.post(f"/keys/key_{'0' * 24}/rotate", json={"grace_s": grace_s})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "grace_s")


async def test_revocations_are_made_and_listed(admin: httpx.AsyncClient) -> None:
    token = await admin.post("/revocations", json={"token_id": "jti-1"})
    subject = await admin.post("/revocations", json={"subject": "张三"})
    assert (token.status_code, subject.status_code) == (201, 201)
    listed = (await admin.get("/revocations")).json()["data"]
    assert {(each["kind"], each["name"]) for each in listed} == {("token", "jti-1"), ("subject", "张三")}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"token_id": "a", "subject": "b"}, None),
        ({"token_id": ""}, "token_id"),
        ({"subject": "a\0"}, "subject"),
    ],
)
async def test_revocation_of_nothing_or_of_two_things_is_refused(
    admin: httpx.AsyncClient, body: dict[str, Any], param: str | None
) -> None:
    answer = await admin.post("/revocations", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (await admin.get("/revocations")).json()["data"] == []

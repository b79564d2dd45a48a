"""What all routes of /admin/v1 have in common, and the list of models."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.serve_app.administration import MODELS
from tests.unit.serve_app.routes.conftest import TOKENS

KEY_ID = "key_" + "0" * 24
ROUTES = [
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("GET", f"/keys/{KEY_ID}"),
    ("DELETE", f"/keys/{KEY_ID}"),
    ("POST", f"/keys/{KEY_ID}/rotate"),
    ("GET", "/revocations"),
    ("POST", "/revocations"),
    ("GET", "/usage"),
    ("GET", "/limits"),
    ("PUT", "/limits"),
    ("DELETE", "/limits"),
    ("GET", "/models"),
    ("HEAD", "/models"),
    ("GET", "/fleet"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_route_is_for_administrators_alone(admin: httpx.AsyncClient, method: str, path: str) -> None:
    user = {"authorization": f"Bearer {TOKENS.issue('zhangsan', ['user', 'root'], 60)}"}
    nobody = {"authorization": "Bearer nonsense"}
    # The body is wrong as well: who asks is looked at first.
    assert (await admin.request(method, path, headers=nobody, content=b"{")).status_code == 401
    refused = await admin.request(method, path, headers=user, content=b"{")
    assert refused.status_code == 403
    if method != "HEAD":
        assert refused.json()["error"]["code"] == "permission_denied"


async def test_wrong_method_is_told_the_right_ones(admin: httpx.AsyncClient) -> None:
    answer = await admin.patch("/limits", json={})
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT", "DELETE"}


async def test_models_are_listed_and_never_cached(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/models")
    assert answer.json() == {"object": "list", "data": MODELS}
    assert answer.headers["cache-control"] == "no-store"
    assert (await admin.head("/models")).status_code == 200


async def test_fleet_is_shown_with_its_models(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/fleet")
    assert answer.json() == {"object": "fleet", "gpus": {}, "models": MODELS, "decisions": []}


async def test_body_that_is_too_large_or_no_json_is_refused(admin: httpx.AsyncClient) -> None:
    assert (await admin.post("/keys", json={"name": "a" * 5000})).status_code == 413
    assert (await admin.post("/keys", content=b"[]")).status_code == 400
    xml = await admin.post("/keys", content=b"<a/>", headers={"content-type": "text/xml"})
    assert xml.status_code == 415


@pytest.mark.parametrize(
    ("path", "code"), [("/keys?tenat=a", "unknown_parameter"), ("/keys?tenant=a&tenant=b", None)]
)
async def test_query_that_would_be_misread_is_refused(
    admin: httpx.AsyncClient, path: str, code: str | None
) -> None:
    answer = await admin.get(path)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code

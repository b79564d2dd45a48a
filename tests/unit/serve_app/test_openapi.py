"""The description of the API, and the page that shows it."""

from __future__ import annotations

import httpx

from serve_app import openapi
from serve_app.routes.inference import PATHS


def test_every_route_to_a_model_is_described() -> None:
    assert set(PATHS) <= set(openapi.document()["paths"])


async def test_described_routes_are_there(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method in operations:
            response = await client.request(method, path.replace("{model}", "chat"))
            assert response.status_code not in (404, 405), path


async def test_docs_load_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "https://" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert asset in page
        assert (await client.get(f"/docs/assets/{asset}")).status_code == 200


def test_references_resolve() -> None:
    document = openapi.document()

    def visit(node: object) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert node["$ref"].rpartition("/")[2] in document["components"]["schemas"]
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(document)

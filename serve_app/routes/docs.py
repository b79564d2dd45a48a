"""``/openapi.json`` and ``/docs``: the API described, and a page to try it, without a foreign host."""

from __future__ import annotations

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from serve_app import openapi


def routes() -> list[BaseRoute]:
    """The description, the page, and the page's assets."""
    document = openapi.document()
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="qwen-serve",
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="docs/assets/favicon-32x32.png",
    )

    async def openapi_json(_: Request) -> Response:
        return JSONResponse(document)

    async def docs(_: Request) -> Response:
        return page

    return [
        Route("/openapi.json", openapi_json, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
        Mount("/docs/assets", StaticFiles(packages=[("fastapi_swagger", "resources")])),
    ]

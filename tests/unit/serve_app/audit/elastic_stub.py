"""An Elasticsearch that is as strict as the real one about what the shipper uses, and fails when told to."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Fault = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | None]]

_INDEX = re.compile(r"qwen-serve-audit-\d{4}\.\d{2}")


class ElasticStub:
    """Keeps documents by index and id; an id that is taken is a conflict.

    Attributes:
        documents: What is stored, by index and id.
        installed: What was put at which path.
        faults: What happens to the next bulk requests in place of an answer; None lets one pass.
        item_statuses: Statuses of the next documents in place of storing them; None stores one.
        reject: Whether a document is refused for good.
        bulks: How many bulk requests came.
        conflicts: How many documents were there already.
    """

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], dict[str, Any]] = {}
        self.installed: dict[str, Any] = {}
        self.faults: list[Fault | None] = []
        self.item_statuses: list[int | None] = []
        self.reject: Callable[[dict[str, Any]], bool] = lambda _: False
        self.max_bytes = 10_000_000
        self.bulks = self.conflicts = 0

    def app(self) -> web.Application:
        """Its HTTP side."""
        app = web.Application(client_max_size=100_000_000)
        app.router.add_post("/_bulk", self._bulk)
        app.router.add_put("/{path:.*}", self._put)
        return app

    async def _put(self, request: web.Request) -> web.StreamResponse:
        assert request.content_type == "application/json"
        self.installed[request.path] = await request.json()
        return web.json_response({"acknowledged": True})

    async def _bulk(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.bulks += 1
        if request.headers.get("Authorization") != "ApiKey c2VjcmV0":
            return web.json_response({"error": "missing authentication"}, status=401)
        if request.content_type != "application/x-ndjson" or not body.endswith(b"\n"):
            return web.json_response(
                {"error": "the bulk request must be terminated by a newline"}, status=400
            )
        if len(body) > self.max_bytes:
            return web.Response(status=413)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and (answer := await fault(request, body)) is not None:
            return answer
        return web.json_response(self.store(body))

    def store(self, body: bytes) -> dict[str, Any]:
        """Store what a body holds; the answer."""
        lines = [json.loads(line) for line in body.splitlines()]
        items = [
            self._create(action, document) for action, document in zip(lines[::2], lines[1::2], strict=True)
        ]
        return {"took": 1, "errors": any("error" in item["create"] for item in items), "items": items}

    def _create(self, action: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        (kind,) = action
        index, name = action[kind]["_index"], action[kind]["_id"]
        assert kind == "create"
        assert _INDEX.fullmatch(index)
        assert "@timestamp" in document
        status = self.item_statuses.pop(0) if self.item_statuses else None
        if status is None and self.reject(document):
            status = 400
        if status is None and (index, name) in self.documents:
            self.conflicts += 1
            status = 409
        if status is not None:
            error = {"type": f"error_{status}", "reason": "as the test said"}
            return {"create": {"_index": index, "_id": name, "status": status, "error": error}}
        self.documents[index, name] = document
        return {"create": {"_index": index, "_id": name, "status": 201}}

"""``GET /v1/models``: what there is to ask."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.board import ModelStatus
from serve_app.admission import Admission
from serve_app.fleet import Fleet
from serve_app.models import NamedModel


def routes(admission: Admission, fleet: Fleet) -> list[Route]:
    """The list, and one model of it.

    Args:
        admission: Who may see which.
        fleet: Their states.
    """
    created = int(time.time())

    def card(model: NamedModel) -> dict[str, Any]:
        return _card(model, created, fleet.status(model.config.id))

    async def list_models(request: Request) -> Response:
        principal = await admission.authenticate(request)
        cards = [card(model) for model in admission.visible(principal)]
        return JSONResponse({"object": "list", "data": cards})

    async def get_model(request: Request) -> Response:
        principal = await admission.authenticate(request)
        return JSONResponse(card(admission.find(principal, request.path_params["model"])))

    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{model:path}", get_model, methods=["GET"]),
    ]


def _card(model: NamedModel, created: int, status: ModelStatus | None) -> dict[str, Any]:
    card: dict[str, Any] = {
        "id": model.name,
        "object": "model",
        "created": created,
        "owned_by": "qwen-serve",
        "root": model.config.id,
        "kind": model.config.kind.value,
        "max_model_len": model.config.max_model_len,
    }
    if status is not None:
        card |= {"state": status.state.value, "expected_load_s": round(status.load_s, 1)}
    # A key that real models do not have: nobody can take a simulated one for real.
    return card if model.config.simulation is None else {**card, "simulated": True}

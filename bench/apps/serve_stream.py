"""Ray Serve's default way to stream: a handle's generator between two deployments, every token an object.

An ingress that forwards the frames of a model's replica, as Serve's own documentation builds one. Serve takes
it by its import path, ``bench.apps.serve_stream:build``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

_IN_HAND = 1024
"""Serve's own default of 5 requests per replica would measure a queue."""

_api = FastAPI()


class Model:
    """A replica with a simulated engine."""

    def __init__(self) -> None:
        from bench.apps.simulation import Streams

        self._streams = Streams()

    async def chat(self, body: dict[str, Any]) -> AsyncIterator[str]:
        """The frames of a streamed chat."""
        async for frame in self._streams.chat(body):
            yield frame


@serve.ingress(_api)
class Ingress:
    """Forwards frames.

    Args:
        model: The replicas.
    """

    def __init__(self, model: DeploymentHandle[Any]) -> None:
        self._model = model.options(stream=True)

    @_api.post("/v1/chat/completions")
    async def chat(self, request: Request) -> StreamingResponse:
        """Stream a chat."""
        frames = self._model.chat.remote(await request.json())
        return StreamingResponse(frames, media_type="text/event-stream")


def build(args: Mapping[str, str]) -> Application:
    """The application; it takes no arguments."""
    del args
    options: dict[str, Any] = {"max_ongoing_requests": _IN_HAND, "ray_actor_options": {"num_cpus": 1}}
    model = serve.deployment(Model, **options).bind()
    return serve.deployment(Ingress, **options).bind(model)

"""The model deployments as the ingress calls them, with Ray's exceptions turned into this API's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    RequestCancelledError,
)

from deployments.call import Answer, Call, Refusal, StreamItem
from serve_app.errors import ApiError, InternalError, ModelUnavailable, Overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.serve.handle import DeploymentHandle


class Upstream(Protocol):
    """Reaches the models. Implemented over Serve's handles; tests bring their own."""

    async def answer(self, model_id: str, call: Call) -> Answer | Refusal:
        """Run a call to its end."""

    def stream(self, model_id: str, call: Call) -> AsyncGenerator[StreamItem, None]:
        """Run a call and yield its frames; closing the generator ends the engine's work."""


class ServeUpstream:
    """Upstream over Ray Serve's deployment handles.

    Args:
        handles: By model id.
    """

    def __init__(self, handles: Mapping[str, DeploymentHandle[Any]]) -> None:
        self._handles = handles
        self._streaming = {model_id: handle.options(stream=True) for model_id, handle in handles.items()}

    async def answer(self, model_id: str, call: Call) -> Answer | Refusal:
        """See ``Upstream``."""
        response = self._handles[model_id].answer.remote(call)
        try:
            with _translated(model_id):
                result: Answer | Refusal = await response
                return result
        except BaseException:
            response.cancel()
            raise

    async def stream(self, model_id: str, call: Call) -> AsyncGenerator[StreamItem, None]:
        """See ``Upstream``."""
        response = self._streaming[model_id].stream.remote(call)
        items: AsyncIterator[StreamItem] = aiter(response)
        finished = False
        try:
            with _translated(model_id):
                async for item in items:
                    yield item
            finished = True
        finally:
            if not finished:
                response.cancel()


@contextmanager
def _translated(model_id: str) -> Iterator[None]:
    """The one table from Ray's exceptions to this API's."""
    try:
        yield
    except RequestCancelledError as error:
        raise asyncio.CancelledError from error
    except (RayError, RayServeException) as error:
        raise translate(error, model_id) from error


def translate(error: RayError | RayServeException, model_id: str) -> ApiError:
    """What a client is told of an exception of Ray's."""
    match error:
        case BackPressureError():
            return Overloaded(
                f"The model {model_id!r} has as many requests waiting as it may; try again shortly.",
                headers={"retry-after": "1"},
            )
        case DeploymentUnavailableError():
            return ModelUnavailable(
                f"The model {model_id!r} did not start; the operator finds the reason in its log.",
                headers={"retry-after": "30"},
            )
        case RayTaskError():
            return InternalError(f"The model {model_id!r} failed; the operator finds the reason in its log.")
        case RayActorError():
            return ModelUnavailable(
                f"The replica of {model_id!r} that had this request is gone; send it again.",
                headers={"retry-after": "1"},
            )
        case _:
            return ModelUnavailable(
                f"The model {model_id!r} cannot be reached; try again shortly.", headers={"retry-after": "5"}
            )

"""The model deployments as the ingress calls them, with Ray's exceptions turned into this API's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    RequestCancelledError,
)

from deployments.call import Answer, Call, Refusal, StreamEnd, StreamItem
from deployments.channel import ChannelError, Inbox, StreamOverflow, Subscription
from serve_app.errors import (
    ApiError,
    InternalError,
    ModelUnavailable,
    Overloaded,
    SlowReader,
    StreamBroken,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.serve.handle import DeploymentHandle


class Upstream(Protocol):
    """Reaches the models. Implemented over Serve's handles; tests bring their own."""

    async def answer(self, model_id: str, call: Call) -> Answer | Refusal:
        """Run a call to its end."""

    def stream(self, model_id: str, call: Call) -> AsyncGenerator[StreamItem, None]:
        """Run a call and yield its frames; closing the generator ends the engine's work."""

    def close(self) -> None:
        """The ingress is stopping; streams that are still open fail."""


class ServeUpstream:
    """Upstream over Ray Serve's deployment handles, with streams over the token channel.

    Args:
        handles: By model id.
        host: This node's own address, on which the token channel listens.
        stream_buffer_bytes: What may wait for a slow client, per stream.
        on_unknown: Told how many frames came for streams that are not open (any more).
    """

    def __init__(
        self,
        handles: Mapping[str, DeploymentHandle[Any]],
        *,
        host: str,
        stream_buffer_bytes: int,
        on_unknown: Callable[[int], None],
    ) -> None:
        self._handles = handles
        self._host = host
        self._stream_buffer_bytes = stream_buffer_bytes
        self._on_unknown = on_unknown
        self._opened: Inbox | None = None

    async def answer(self, model_id: str, call: Call) -> Answer | Refusal:
        """See ``Upstream``."""
        response = self._handles[model_id].answer.remote(call)
        try:
            with _translated(model_id):
                result: Answer | Refusal = await response
                return result
        except asyncio.CancelledError:
            # Not on failure: cancelling a call that the queue refused raises the refusal once more.
            response.cancel()
            raise

    async def stream(self, model_id: str, call: Call) -> AsyncGenerator[StreamItem, None]:
        """See ``Upstream``."""
        with self._inbox().open(self._stream_buffer_bytes) as frames:
            response = self._handles[model_id].relay.remote(call, frames.address)
            ending: asyncio.Future[StreamEnd] = asyncio.ensure_future(response)
            ending.add_done_callback(partial(_settle, frames))
            try:
                with _translated(model_id):
                    while (chunk := await frames.read()) is not None:
                        yield chunk
                    end = ending.result()
                yield end.refusal or end.usage
            finally:
                if not ending.done():
                    response.cancel()
                    ending.cancel()

    def close(self) -> None:
        """See ``Upstream``."""
        if self._opened is not None:
            self._opened.close()

    def _inbox(self) -> Inbox:
        # Not in the constructor: it belongs to the event loop that serves requests.
        if self._opened is None:
            self._opened = Inbox(self._host, self._on_unknown)
        return self._opened


def _settle(frames: Subscription, ending: asyncio.Future[StreamEnd]) -> None:
    """Tell a stream how many frames to expect, or why there will be none."""
    if ending.cancelled():
        frames.fail(asyncio.CancelledError())
    elif (error := ending.exception()) is not None:
        frames.fail(error)
    else:
        frames.expect(ending.result().frames)


@contextmanager
def _translated(model_id: str) -> Iterator[None]:
    """The one table from Ray's and the token channel's exceptions to this API's."""
    try:
        yield
    except RequestCancelledError as error:
        raise asyncio.CancelledError from error
    except StreamOverflow as error:
        raise SlowReader("The stream was read too slowly and has been ended; read it as it comes.") from error
    except ChannelError as error:
        raise StreamBroken("A part of the stream was lost on its way; send the request again.") from error
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

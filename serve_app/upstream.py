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

from deployments.call import Answer, Bill, Call, Refusal, StreamEnd, StreamItem
from deployments.channel import ChannelError, Inbox, StreamOverflow, Subscription
from serve_app.errors import (
    ApiError,
    InternalError,
    ModelUnavailable,
    Overloaded,
    SlowReader,
    StreamBroken,
)
from serve_app.running_call import RunningCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.serve.handle import DeploymentHandle


class Upstream(Protocol):
    """Reaches the models. Implemented over Serve's handles; tests bring their own."""

    async def answer(self, model_id: str, call: Call, bill: Bill) -> Answer | Refusal:
        """Run a call to its end; cancelled, it ends the engine's work."""

    def stream(self, model_id: str, call: Call, bill: Bill) -> AsyncGenerator[StreamItem, None]:
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
        self._inbox: Inbox | None = None
        self._stopping: set[asyncio.Task[None]] = set()

    async def answer(self, model_id: str, call: Call, bill: Bill) -> Answer | Refusal:
        """See ``Upstream``."""
        with _translated(model_id):
            running = self._start(self._handles[model_id].answer, call, bill)
        try:
            with _translated(model_id):
                result: Answer | Refusal = await asyncio.shield(running.ending)
                return result
        finally:
            self._stop(running)

    async def stream(self, model_id: str, call: Call, bill: Bill) -> AsyncGenerator[StreamItem, None]:
        """See ``Upstream``."""
        with _translated(model_id):
            running = self._start(self._handles[model_id].relay, call, bill)
        frames = running.frames
        running.ending.add_done_callback(partial(_tell_end, frames))
        try:
            with _translated(model_id):
                while (chunk := await frames.read()) is not None:
                    yield chunk
                end: StreamEnd = running.ending.result()
            if end.refusal is not None:
                yield end.refusal
        finally:
            self._stop(running)

    def close(self) -> None:
        """See ``Upstream``."""
        if self._inbox is not None:
            self._inbox.close()

    def _start(self, method: DeploymentHandle[Any], call: Call, bill: Bill) -> RunningCall:
        # Not in the constructor: the inbox belongs to the event loop that serves requests.
        if self._inbox is None:
            self._inbox = Inbox(self._host, self._on_unknown)
        return RunningCall(self._inbox.open(self._stream_buffer_bytes), method, call, bill)

    def _stop(self, running: RunningCall) -> None:
        """Bill a call; in the background where its replica has yet to tell, since its client has gone."""
        if running.over:
            running.close()
            return
        stopping = asyncio.create_task(running.cancel())
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)


def _tell_end(frames: Subscription, ending: asyncio.Future[StreamEnd]) -> None:
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

"""The replica's log line of a call, with the request id that the ingress's line has too."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from deployments.call import Answer, Call, Refusal, StreamEnd, Usage

logger = logging.getLogger("ray.serve")

DONE: Final = "done"
CANCELLED: Final = "cancelled"
FAILED: Final = "failed"


class CallLine:
    """What is known of one call: never a text of it.

    Attributes:
        outcome: done, cancelled, or the reason of a refusal.
        usage: As far as the engine has told.
    """

    def __init__(self) -> None:
        self.outcome = FAILED
        self.usage = Usage()

    def tell(self, result: Answer | Refusal | StreamEnd) -> None:
        """How the call has ended."""
        refusal = result if isinstance(result, Refusal) else getattr(result, "refusal", None)
        self.outcome = DONE if refusal is None else refusal.reason.value
        if not isinstance(result, Refusal):
            self.usage = result.usage


@contextmanager
def logged(call: Call, *, stream: bool) -> Iterator[CallLine]:
    """Write one line when the call is over, however it ends; Serve adds the request id."""
    line, begun = CallLine(), time.perf_counter()
    try:
        yield line
    finally:
        task = asyncio.current_task()
        # Not by the exception: vLLM turns it into an error response where a call does not stream.
        if task is not None and task.cancelling():
            line.outcome = CANCELLED
        logger.info("call", extra=_fields(call, line, stream, time.perf_counter() - begun))


def _fields(call: Call, line: CallLine, stream: bool, latency_s: float) -> dict[str, object]:
    fields: dict[str, object] = {
        "engine_request_id": call.request_id,
        "task": call.task.value,
        "alias": call.model,
        "stream": stream,
        "outcome": line.outcome,
        "latency_ms": round(latency_s * 1000, 1),
        "input_tokens": line.usage.prompt_tokens,
        "output_tokens": line.usage.completion_tokens,
    }
    if timing := line.usage.timing:
        fields["engine_ms"] = round(timing.engine_s * 1000, 1)
        if timing.queue_s is not None:
            fields["queue_ms"] = round(timing.queue_s * 1000, 1)
    return fields

"""The replica's log line: one for each call, however it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from deployments.call import Answer, Call, Reason, Refusal, StreamEnd, Task, Usage
from deployments.call_line import logged
from deployments.timing import Timing

CALL = Call(Task.CHAT, {"messages": [{"role": "user", "content": "secret"}]}, "qwen-max", "order-66-abc")
USAGE = Usage(7, 3, Timing(first_token_s=0.01, engine_s=0.05, queue_s=0.002))
REFUSAL = Refusal(Reason.INVALID, "no")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("ray.serve")
    logger.addHandler(caplog.handler)  # Serve keeps its logger from handing on
    with caplog.at_level(logging.INFO, logger="ray.serve"):
        yield caplog
    logger.removeHandler(caplog.handler)


def only(lines: pytest.LogCaptureFixture) -> dict[str, object]:
    first = lines.records[0]
    assert all(line is first for line in lines.records)
    assert first.getMessage() == "call"
    assert "secret" not in str(first.__dict__)
    return first.__dict__


@pytest.mark.parametrize("result", [Answer(b"{}", USAGE), StreamEnd(5, USAGE)])
async def test_line_tells_what_was_used_and_how_long_it_took(
    lines: pytest.LogCaptureFixture, result: Answer | StreamEnd
) -> None:
    with logged(CALL, stream=True) as line:
        line.tell(result)
    said = only(lines)
    assert (said["engine_request_id"], said["outcome"], said["task"]) == ("order-66-abc", "done", "chat")
    assert (said["input_tokens"], said["output_tokens"]) == (7, 3)
    assert (said["queue_ms"], said["engine_ms"]) == (2.0, 50.0)


@pytest.mark.parametrize("result", [REFUSAL, StreamEnd(0, USAGE, REFUSAL)])
async def test_line_tells_why_a_call_was_refused(
    lines: pytest.LogCaptureFixture, result: Refusal | StreamEnd
) -> None:
    with logged(CALL, stream=False) as line:
        line.tell(result)
    assert only(lines)["outcome"] == "invalid"


async def test_line_tells_that_a_call_was_cancelled_even_if_the_engine_answers(
    lines: pytest.LogCaptureFixture,
) -> None:
    begun = asyncio.Event()

    async def call() -> None:
        with logged(CALL, stream=False) as line:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                line.tell(Refusal(Reason.FAILED, "vLLM's word for it"))

    running = asyncio.create_task(call())
    await begun.wait()
    running.cancel()
    await asyncio.wait([running])
    assert only(lines)["outcome"] == "cancelled"


async def test_line_is_written_when_a_call_raises(lines: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError), logged(CALL, stream=False):
        raise RuntimeError
    assert only(lines)["outcome"] == "failed"

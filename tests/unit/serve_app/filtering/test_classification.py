"""The classifier on whole streams and answers, with its tasks and timers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from deployments.call import DONE, Reason, Refusal, StreamItem
from serve_app.errors import FilterSilent
from serve_app.filtering.classification import AnswerJudgement, Classification
from serve_app.filtering.classifier import Judge
from serve_app.filtering.frames import AnswerFilter
from serve_app.filtering.verdict import Action, Scanned
from tests.unit.serve_app.filtering.judges import (
    FakeClassifier,
    config_of,
    frame,
    paced,
    said,
)
from tests.unit.serve_app.filtering.policies import policy_of
from tests.unit.serve_app.filtering.test_hold import ROLE, USAGE


def answer_of(classifier: FakeClassifier, choices: int = 1, **changed: Any) -> AnswerJudgement:
    return Classification(Judge(config_of(**changed), classifier)).answer((), choices)


async def collected(items: AsyncGenerator[StreamItem, None]) -> bytes:
    return b"".join([item async for item in items if isinstance(item, bytes)])


async def test_good_stream_is_unchanged() -> None:
    answer = answer_of(FakeClassifier(delay_s=0.01))
    frames = [ROLE, frame("今天"), frame("很好。抽烟"), frame("吧", "stop"), USAGE, DONE]
    assert await collected(answer.stream(paced(*frames))) == b"".join(frames)
    assert answer.verdict is not None
    assert answer.verdict.scanned is Scanned.ALL
    assert [(one.category, one.action) for one in answer.verdict.findings] == [("tobacco", Action.FLAG)]


async def test_block_ends_the_stream_and_the_engine() -> None:
    answer = answer_of(FakeClassifier(delay_s=0.01))
    items = paced(ROLE, frame("你好。"), 0.2, frame("吃毒药。"), 60, frame("不会来"))
    async with asyncio.timeout(10):
        out = await collected(answer.stream(items))
    assert said(out) == ("你好。", "content_filter")
    assert answer.verdict is not None
    assert answer.verdict.blocking == ("abuse",)
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_text_that_pauses_is_judged_and_goes_on() -> None:
    answer = answer_of(FakeClassifier())
    stream = answer.stream(paced(frame("今天"), 60))
    async with asyncio.timeout(10):
        assert await anext(stream) == frame("今天")
    await stream.aclose()
    assert answer.verdict is not None
    assert answer.verdict.scanned is Scanned.ALL


async def test_open_stream_goes_on_without_a_classifier_that_hangs() -> None:
    classifier = FakeClassifier(delay_s=60)
    answer = answer_of(classifier, hold_ms=50, timeout_ms=60_000)
    async with asyncio.timeout(10):
        assert said(await collected(answer.stream(paced(frame("今天。"), frame("毒", "stop"))))) == (
            "今天。毒",
            "stop",
        )
    assert classifier.cancelled == 2
    assert answer.verdict is not None
    assert answer.verdict.scanned is Scanned.NOTHING
    assert answer.verdict.unscanned == ("classifier:late",)


async def test_closed_stream_ends_with_an_error() -> None:
    answer = answer_of(FakeClassifier(error=RuntimeError()), on_unavailable="closed", hold_ms=60_000)
    stream = answer.stream(paced(ROLE, frame("今天。"), 60))
    assert await anext(stream) == ROLE
    async with asyncio.timeout(10):
        with pytest.raises(FilterSilent):
            await anext(stream)


async def test_failure_of_the_engine_comes_after_what_it_said_before() -> None:
    stream = answer_of(FakeClassifier(delay_s=0.01)).stream(paced(frame("今天"), OSError("engine")))
    assert await anext(stream) == frame("今天")
    with pytest.raises(OSError, match="engine"):
        await anext(stream)


async def test_refusal_keeps_its_place() -> None:
    refusal = Refusal(Reason.FAILED, "x")
    stream = answer_of(FakeClassifier(delay_s=0.01)).stream(paced(frame("今天"), refusal))
    assert [item async for item in stream] == [frame("今天"), refusal]


async def test_client_that_goes_away_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    classifier = FakeClassifier(delay_s=60)
    items = paced(ROLE, frame("今天。"), frame("明天。"), 60)
    stream = answer_of(classifier, hold_ms=60_000, timeout_ms=60_000).stream(items)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await classifier.second_call.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.aclose()
    assert asyncio.all_tasks() == before
    assert classifier.cancelled == 2
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_slow_client_holds_the_engine_back_and_its_text_is_judged_all_the_same() -> None:
    came: list[int] = []

    async def engine() -> AsyncGenerator[StreamItem, None]:
        for number in range(50):
            await asyncio.sleep(0.01)
            came.append(number)
            yield frame("毒药" if number == 2 else "好。")

    answer = answer_of(FakeClassifier(), hold_ms=60)
    stream = answer.stream(engine())
    out = await anext(stream)
    await asyncio.sleep(0.3)  # the client's pause, several times the hold
    assert len(came) < 10
    assert isinstance(out, bytes)
    assert said(out + await collected(stream)) == ("好。好。", "content_filter")
    assert answer.verdict is not None
    assert answer.verdict.scanned is Scanned.ALL


async def test_phrases_come_first_and_their_end_is_an_end() -> None:
    phrases = AnswerFilter(policy_of({"秘密": Action.BLOCK}), 1)

    async def phrased() -> AsyncGenerator[StreamItem, None]:
        for one in (frame("你好。"), frame("秘密。"), frame("不再")):
            if shown := phrases.feed(one):
                yield shown
            if phrases.stopped:
                return

    answer = answer_of(FakeClassifier(delay_s=0.01))
    assert said(await collected(answer.stream(phrased()))) == ("你好。", "content_filter")
    assert answer.verdict is not None
    assert not answer.verdict.blocked
    assert phrases.verdict.blocked


def body_of(*texts: str) -> bytes:
    choices = [
        {
            "index": n,
            "message": {"role": "assistant", "content": text},
            "logprobs": None,
            "finish_reason": "stop",
        }
        for n, text in enumerate(texts)
    ]
    return json.dumps({"id": "1", "choices": choices, "usage": {"total_tokens": 3}}).encode()


async def test_whole_answer_is_judged_choice_by_choice() -> None:
    answer = answer_of(FakeClassifier(), choices=2)
    shown = json.loads(await answer.body(body_of("今天好", "吃毒药")))
    assert [choice["message"]["content"] for choice in shown["choices"]] == ["今天好", ""]
    assert [choice["finish_reason"] for choice in shown["choices"]] == ["stop", "content_filter"]
    assert shown["usage"] == {"total_tokens": 3}
    assert answer.verdict is not None
    assert answer.verdict.blocked


async def test_good_body_and_one_without_choices_are_unchanged() -> None:
    for body in (body_of("今天好"), b'{"object":"list","data":[]}'):
        answer = answer_of(FakeClassifier())
        assert await answer.body(body) == body
        assert answer.verdict is not None
        assert answer.verdict.scanned is Scanned.ALL


async def test_body_that_cannot_be_judged_passes_or_not_as_configured() -> None:
    broken = FakeClassifier(error=RuntimeError())
    assert await answer_of(broken).body(body_of("好")) == body_of("好")
    closed = answer_of(broken, on_unavailable="closed")
    with pytest.raises(FilterSilent):
        await closed.body(body_of("好"))
    assert closed.verdict is not None
    assert closed.verdict.unscanned == ("classifier:unavailable",)


async def test_answers_are_left_alone_where_they_are_not_judged() -> None:
    answer = answer_of(FakeClassifier(), answers=False)
    assert await answer.body(body_of("毒")) == body_of("毒")
    assert await collected(answer.stream(paced(frame("毒")))) == frame("毒")
    assert answer.verdict is None

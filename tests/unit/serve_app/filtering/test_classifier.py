"""The judge: what it makes of scores, and what it does when there are none."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
from pydantic import ValidationError

from deployments.classifier_config import ClassifierConfig
from serve_app.filtering.classification import Classification
from serve_app.filtering.classifier import Judge, Reached, ServeClassifier
from serve_app.filtering.classifier_config import LabelConfig
from serve_app.filtering.verdict import Action, Scanned
from tests.unit.serve_app.filtering.judges import FakeClassifier, config_of, scores_of

GOOD, BAD, SMOKE = "今天天气很好", "吃毒药", "抽烟"


def judge_of(classifier: FakeClassifier, **changed: Any) -> Judge:
    return Judge(config_of(**changed), classifier)


def messages(*contents: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": content} for content in contents]}


async def test_windows_are_counted_by_category_and_action() -> None:
    judge = judge_of(FakeClassifier())
    judgement = await judge.judge([GOOD, BAD, SMOKE, BAD + SMOKE], judge.actions_for(()))

    assert judgement.found == {("abuse", Action.BLOCK): 2, ("tobacco", Action.FLAG): 2}
    assert judgement.reached == {Reached.SCANNED: 4}
    assert judgement.blocks
    assert judgement.missed is None


async def test_role_may_be_allowed_what_others_are_not() -> None:
    judge = judge_of(FakeClassifier())
    assert not (await judge.judge([BAD], judge.actions_for(["auditor"]))).found
    assert (await judge.judge([BAD], judge.actions_for(["user"]))).blocks


async def test_window_that_was_judged_before_is_not_asked_again() -> None:
    classifier = FakeClassifier()
    judge = judge_of(classifier, remembered_windows=2)
    await judge.judge([GOOD, BAD], judge.actions_for(()))
    judgement = await judge.judge([BAD, GOOD, SMOKE], judge.actions_for(()))
    assert classifier.calls == [[GOOD, BAD], [SMOKE]]
    assert judgement.reached == {Reached.SCANNED: 3}

    await judge.judge([BAD], judge.actions_for(()))  # two others came after it
    assert classifier.calls[2:] == [[BAD]]


async def test_nothing_is_remembered_where_nothing_may_be() -> None:
    classifier = FakeClassifier()
    judge = judge_of(classifier, remembered_windows=0)
    await judge.judge([GOOD], judge.actions_for(()))
    await judge.judge([GOOD], judge.actions_for(()))
    assert len(classifier.calls) == 2


async def test_answer_that_is_late_is_given_up_and_its_call_ended() -> None:
    classifier = FakeClassifier(delay_s=60)
    judge = judge_of(classifier, timeout_ms=50)
    begun = time.monotonic()
    judgement = await judge.judge([BAD], judge.actions_for(()))

    assert time.monotonic() - begun < 5
    assert judgement.reached == {Reached.LATE: 1}
    assert judgement.missed is Reached.LATE
    assert classifier.cancelled == 1


@pytest.mark.parametrize("error", [RuntimeError("replica died"), ValueError("x")])
async def test_failure_of_any_kind_is_a_classifier_that_is_away(error: Exception) -> None:
    judge = judge_of(FakeClassifier(error=error))
    judgement = await judge.judge([BAD], judge.actions_for(()))
    assert judgement.reached == {Reached.UNAVAILABLE: 1}
    assert not judgement.blocks


async def test_silence_is_logged_once_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray's own logger may or may not hand its records on.
    monkeypatch.setattr("serve_app.filtering.classifier.logger", logging.getLogger("test"))
    classifier = FakeClassifier(error=RuntimeError())
    judge = judge_of(classifier)
    with caplog.at_level(logging.INFO):
        for text in (GOOD, BAD, SMOKE):
            await judge.judge([text], judge.actions_for(()))
        classifier.error = None
        await judge.judge([GOOD], judge.actions_for(()))
    assert [record.message for record in caplog.records] == [
        "Classifier is silent",
        "Classifier answers again",
    ]


async def test_calls_under_way_are_bounded_and_large_prompts_are_parted() -> None:
    classifier = FakeClassifier(delay_s=0.01)
    judge = judge_of(
        classifier, max_calls=2, model=ClassifierConfig(source="guard", max_batch_size=4), timeout_ms=20_000
    )
    judgement = await judge.judge([f"text {n}" for n in range(30)], judge.actions_for(()))
    assert judgement.reached == {Reached.SCANNED: 30}
    assert classifier.most == 2
    assert max(map(len, classifier.calls)) == 4


async def test_half_a_character_does_not_reach_the_tokenizer() -> None:
    classifier = FakeClassifier()
    judge = judge_of(classifier)
    await judge.judge(["a\ud83d"], judge.actions_for(()))
    assert classifier.calls == [["a?"]]


class FakeResponse:
    """As much of a response of Serve as is used."""

    def __init__(self, texts: list[str], *, hangs: bool) -> None:
        self._texts = texts
        self._hangs = hangs
        self.cancelled = False

    def __await__(self) -> Any:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        if self._hangs:
            await asyncio.Event().wait()
        return [scores_of(text) for text in self._texts]

    def cancel(self) -> None:
        self.cancelled = True


class FakeHandle:
    """As much of a Serve handle as is used."""

    def __init__(self, *, hangs: bool) -> None:
        self._hangs = hangs
        self.responses: list[FakeResponse] = []

    @property
    def scores(self) -> FakeHandle:
        return self

    def remote(self, texts: list[str]) -> FakeResponse:
        self.responses.append(FakeResponse(texts, hangs=self._hangs))
        return self.responses[-1]


async def test_call_over_serve_is_cancelled_in_its_replica_too() -> None:
    handle: Any = FakeHandle(hangs=True)
    judge = Judge(config_of(timeout_ms=20), ServeClassifier(handle))
    assert (await judge.judge([BAD], judge.actions_for(()))).missed is Reached.LATE
    assert handle.responses[0].cancelled

    handle = FakeHandle(hangs=False)
    judge = Judge(config_of(), ServeClassifier(handle))
    assert (await judge.judge([BAD], judge.actions_for(()))).blocks
    assert not handle.responses[0].cancelled


async def test_prompt_is_judged_in_windows_of_all_its_texts() -> None:
    classifier = FakeClassifier()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,毒"}}
    body = messages("天气", [{"type": "text", "text": "吃"}, image, {"type": "text", "text": "毒药"}])
    body["tools"] = [{"type": "function", "function": {"name": "look_up", "description": "抽烟"}}]
    judged = await Classification(judge_of(classifier)).prompt(body, ())

    assert {"天气", "吃毒药"} < set(classifier.calls[0])
    assert judged.verdict is not None
    assert judged.verdict.blocking == ("abuse",)
    assert {finding.category for finding in judged.verdict.findings} == {"abuse", "tobacco"}
    assert judged.verdict.scanned is Scanned.PART
    assert judged.verdict.unscanned == ("images",)
    assert judged.verdict.lexicon_version == "guard"


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": BAD},
        {"prompt": [GOOD, BAD]},
        {"input": BAD},
        {"query": GOOD, "documents": [GOOD, BAD]},
        {"text_1": GOOD, "text_2": BAD},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"q":"\\u6bd2"}'}}]}]},
        {"messages": [{"role": "user", "content": GOOD}], "tools": [{"function": {"parameters": {BAD: {}}}}]},
        {"messages": [{"role": "user", "content": GOOD}], "chat_template_kwargs": {"note": BAD}},
    ],
)  # fmt: skip
async def test_bad_text_is_found_wherever_it_stands(body: dict[str, Any]) -> None:
    judged = await Classification(judge_of(FakeClassifier())).prompt(body, ())
    assert judged.verdict is not None
    assert judged.verdict.blocked


async def test_token_ids_are_not_called_scanned() -> None:
    judged = await Classification(judge_of(FakeClassifier())).prompt({"prompt": [1, 2]}, ())
    assert judged.verdict is not None
    assert judged.verdict.scanned is Scanned.NOTHING
    assert judged.verdict.unscanned == ("token_ids",)


@pytest.mark.parametrize("policy", ["open", "closed"])
async def test_prompt_that_cannot_be_judged_passes_or_not_as_configured(policy: str) -> None:
    classifier = FakeClassifier(error=RuntimeError())
    classification = Classification(judge_of(classifier, on_unavailable=policy))
    judged = await classification.prompt(messages(BAD), ())

    assert (judged.silent is not None) == (policy == "closed")
    assert judged.verdict is not None
    assert judged.verdict.scanned is Scanned.NOTHING
    assert judged.verdict.unscanned == ("classifier:unavailable",)
    assert not judged.verdict.blocked


async def test_prompt_found_bad_in_part_is_blocked_although_the_rest_was_not_read() -> None:
    classifier = FakeClassifier()
    judge = judge_of(classifier, on_unavailable="closed")
    await judge.judge([BAD], judge.actions_for(()))
    classifier.error = RuntimeError()
    judged = await Classification(judge).prompt(messages(BAD, GOOD), ())
    assert judged.silent is None
    assert judged.verdict is not None
    assert judged.verdict.blocked
    assert judged.verdict.scanned is Scanned.PART


async def test_without_a_classifier_nothing_is_asked_and_nothing_is_said() -> None:
    judged = await Classification(None).prompt(messages(BAD), ())
    assert judged.verdict is None
    assert judged.silent is None
    judged = await Classification(judge_of(FakeClassifier(), prompts=False)).prompt(messages(BAD), ())
    assert judged.verdict is None


def test_label_cannot_mask() -> None:
    with pytest.raises(ValidationError, match="does not tell which words to hide"):
        LabelConfig(category="abuse", threshold=0.5, action=Action.MASK)

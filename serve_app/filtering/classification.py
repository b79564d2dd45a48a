"""The classifier on prompts and answers; it reads what phrases and patterns have left of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic_core

from deployments.call import StreamItem
from serve_app.errors import FilterSilent
from serve_app.filtering import event, texts, windows
from serve_app.filtering.classifier import Judge, Judgement, LabelActions, Reached
from serve_app.filtering.hold import Hold
from serve_app.filtering.verdict import Scanned, Verdict


@dataclass(frozen=True, slots=True)
class PromptJudgement:
    """What the classifier says of a prompt.

    Attributes:
        verdict: What was found; None: prompts are not judged.
        silent: Why it must not be answered although nothing was found: it could not be judged.
    """

    verdict: Verdict | None = None
    silent: FilterSilent | None = None


class Classification:
    """Judges prompts and answers, for all requests of an ingress.

    Args:
        judge: Asks the classifier; None: there is none, and everything passes.
    """

    def __init__(self, judge: Judge | None) -> None:
        self._judge = judge

    async def prompt(self, body: dict[str, Any], roles: Collection[str]) -> PromptJudgement:
        """Judge a request, within ``timeout_ms``."""
        judge = self._judge
        if judge is None or not judge.config.prompts:
            return PromptJudgement()
        found = texts.of_prompt(body)
        judgement = await _judge_texts(judge, found.texts, judge.actions_for(roles))
        return PromptJudgement(_verdict(judge, [judgement], found.unread), _silence(judge, [judgement]))

    def answer(self, roles: Collection[str], choices: int = 1) -> AnswerJudgement:
        """Judges one answer, streamed or whole, which will have so many choices."""
        judge = self._judge if self._judge is not None and self._judge.config.answers else None
        return AnswerJudgement(judge, judge.actions_for(roles) if judge is not None else {}, choices)


class AnswerJudgement:
    """Judges one answer.

    Args:
        judge: Asks the classifier; None: everything passes.
        actions: What is done about each label for this caller.
        choices: How many choices the answer has.
    """

    def __init__(self, judge: Judge | None, actions: LabelActions, choices: int) -> None:
        self._judge = judge
        self._actions = actions
        self._choices = choices
        self._hold: Hold | None = None
        self._verdict: Verdict | None = None

    @property
    def verdict(self) -> Verdict | None:
        """What was found so far; None: nothing was judged."""
        return self._hold.verdict if self._hold is not None else self._verdict

    def stream(self, items: AsyncGenerator[StreamItem, None]) -> AsyncGenerator[StreamItem, None]:
        """What of a stream may go out.

        Closing it closes ``items``, and so does the end of the last choice by a block: the engine stops.

        Raises:
            FilterSilent: Something was not judged in time, and ``on_unavailable`` is closed.
        """
        if self._judge is None:
            return items
        self._hold = Hold(self._judge, self._actions, self._choices)
        return self._hold.stream(items)

    async def body(self, body: bytes) -> bytes:
        """What of a whole answer may go out; of a choice that is blocked nothing is shown.

        Raises:
            FilterSilent: It could not be judged, and ``on_unavailable`` is closed.
        """
        judge = self._judge
        if judge is None:
            return body
        answer = pydantic_core.from_json(body)
        choices = answer.get("choices") or []
        judgements = await asyncio.gather(*(self._judge_choice(judge, choice) for choice in choices))
        self._verdict = _verdict(judge, judgements, ())
        if silent := _silence(judge, judgements):
            raise silent
        if not any(judgement.blocks for judgement in judgements):
            return body
        answer["choices"] = [
            event.blocked(choice) if judgement.blocks else choice
            for choice, judgement in zip(choices, judgements, strict=True)
        ]
        return event.dump(answer)

    async def _judge_choice(self, judge: Judge, choice: dict[str, Any]) -> Judgement:
        said = [texts.readable(text, path) for path, text in texts.of_choice(event.said(choice))]
        return await _judge_texts(judge, said, self._actions)


async def _judge_texts(judge: Judge, said: Iterable[str], actions: LabelActions) -> Judgement:
    length = judge.config.window_chars
    return await judge.judge((window for text in said for window in windows.cut(text, length)), actions)


def _silence(judge: Judge, judgements: Sequence[Judgement]) -> FilterSilent | None:
    """Why nothing of what was judged whole may pass; a block for what was read of it is an answer."""
    missed = any(one.missed is not None and not one.blocks for one in judgements)
    return FilterSilent() if missed and judge.config.on_unavailable == "closed" else None


def _verdict(judge: Judge, judgements: Sequence[Judgement], unread: Iterable[str]) -> Verdict:
    """The verdict on what was judged whole."""
    unscanned = {*unread, *(one.missed.unscanned for one in judgements if one.missed is not None)}
    read = any(one.reached[Reached.SCANNED] for one in judgements)
    scanned = Scanned.ALL if not unscanned else Scanned.PART if read else Scanned.NOTHING
    return judge.verdict([one.found for one in judgements], scanned, unscanned)

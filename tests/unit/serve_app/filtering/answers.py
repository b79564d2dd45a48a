"""Random answers of several choices, as streams that are cut anywhere and as whole bodies."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_app.filtering.frames import AnswerFilter
from serve_app.filtering.verdict import Finding
from tests.unit.serve_app.filtering.chunkings import Case, chunked, text_of
from tests.unit.serve_app.filtering.oracle import Expected, expect

_PLAIN = ("reasoning_content", "content", "refusal")
_CALLED = ("name", "arguments")
_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "qwen"}

TextName = tuple[str, int]
"""A text of a choice, and of which tool call."""


@dataclass(frozen=True)
class Choice:
    """What the engine says.

    Attributes:
        texts: In the order in which they are written.
        spells: Whether log probabilities come with it.
    """

    texts: Mapping[TextName, str]
    spells: bool


@dataclass
class Said:
    """What a client reads of a choice."""

    texts: defaultdict[TextName, str] = field(default_factory=lambda: defaultdict(str))
    tokens: list[int] = field(default_factory=list)
    reason: str | None = None


@dataclass(frozen=True)
class Result:
    """What came of one way to send an answer."""

    said: Mapping[int, Said]
    findings: tuple[Finding, ...]


def check_answer(chance: random.Random, case: Case) -> None:
    """One answer, streamed in two ways and whole.

    Raises:
        AssertionError: The filter showed or found something else than it must.
    """
    choices = [_choice(chance, case) for _ in range(chance.randint(1, 3))]
    results = [_streamed(chance, case, choices), _streamed(chance, case, choices), _whole(case, choices)]
    for result in results:
        assert result.findings == results[0].findings, (choices, case)
        for index, choice in enumerate(choices):
            _check_choice(choice, result.said[index], case)


def _check_choice(choice: Choice, said: Said, case: Case) -> None:
    musts = {name: expect(text, case.phrases, case.max_separators) for name, text in choice.texts.items()}
    blocked = any(must.blocked for must in musts.values())
    told = (choice, case.phrases, case.max_separators, said, musts)
    assert said.reason == ("content_filter" if blocked else "stop"), told
    for name, must in musts.items():
        if blocked:
            assert must.shown.startswith(said.texts[name]), told
        else:
            assert must.shown == said.texts[name], told
    if choice.spells:
        for name, text in choice.texts.items():
            _check_tokens(text, said, musts[name])


def _check_tokens(text: str, said: Said, must: Expected) -> None:
    """Tokens are bytes here, told by their number."""
    owners = [place for place, char in enumerate(text) for _ in char.encode()]
    shown = {owners[token] for token in said.tokens}
    assert not any(begin <= place < end for begin, end in must.hidden for place in shown), (text, said, must)
    assert sorted(said.tokens) == said.tokens
    if not must.hidden:
        assert said.tokens == list(range(len(owners))), (text, said)


def _choice(chance: random.Random, case: Case) -> Choice:
    names: list[TextName] = [(chance.choice(_PLAIN), 0)]
    spells = chance.random() < 0.4
    if not spells:
        names += [(name, 0) for name in _PLAIN if chance.random() < 0.3 and (name, 0) not in names]
        names += [(name, call) for call in range(chance.choice([0, 0, 1, 2])) for name in _CALLED]
    return Choice({name: text_of(chance, case) for name in names}, spells)


def _streamed(chance: random.Random, case: Case, choices: Sequence[Choice]) -> Result:
    answer = AnswerFilter(case.policy, len(choices))
    sent = b"".join(map(answer.feed, _cut(chance, _stream(chance, choices)))).decode()
    said = {index: Said() for index in range(len(choices))}
    for event in sent.removesuffix("data: [DONE]\n\n").split("\n\n")[:-1]:
        for choice in json.loads(event.removeprefix("data: "))["choices"]:
            one = said[choice["index"]]
            assert one.reason is None, "a choice went on after its end"
            _take(one, choice, choice["delta"])
    for one in said.values():
        one.reason = one.reason or "stop"
    return Result(said, answer.verdict.findings)


def _whole(case: Case, choices: Sequence[Choice]) -> Result:
    answer = AnswerFilter(case.policy, len(choices))
    body = {"choices": [_whole_choice(index, choice) for index, choice in enumerate(choices)]}
    sent = json.loads(answer.body(json.dumps(body).encode()))
    said = {index: Said() for index in range(len(choices))}
    for choice in sent["choices"]:
        _take(said[choice["index"]], choice, choice["message"])
    return Result(said, answer.verdict.findings)


def _take(said: Said, choice: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if isinstance(value, str) and name != "role":
            said.texts[name, 0] += value
    for place, call in enumerate(delta.get("tool_calls") or ()):
        for name, value in call["function"].items():
            said.texts[name, call.get("index", place)] += value
    said.tokens += [entry["logprob"] for entry in (choice.get("logprobs") or {}).get("content", ())]
    said.reason = choice["finish_reason"]


def _stream(chance: random.Random, choices: Sequence[Choice]) -> bytes:
    finishes = chance.random() < 0.8
    waiting = [list(_pieces(chance, index, choice)) for index, choice in enumerate(choices)]
    for pieces in waiting:
        pieces[-1]["finish_reason"] = "stop" if finishes else None
    events: list[Any] = [_frame([_piece(index, {"role": "assistant"})]) for index in range(len(choices))]
    while any(waiting):
        came = [pieces.pop(0) for pieces in waiting if pieces and chance.random() < 0.4]
        together = chance.random() < 0.2
        events += [_frame(came)] if together and came else [_frame([one]) for one in came]
    if chance.random() < 0.3:
        events.append({**_HEAD, "choices": [], "usage": {"prompt_tokens": 1}})
    ascii_only = chance.random() < 0.3
    lines = [json.dumps(event, ensure_ascii=ascii_only, separators=(",", ":")) for event in events]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()


def _pieces(chance: random.Random, index: int, choice: Choice) -> Iterator[dict[str, Any]]:
    for (name, call), text in choice.texts.items():
        if choice.spells:
            yield from _spelled(chance, index, name, text)
            continue
        for place, piece in enumerate(chunked(chance, text)):
            delta: dict[str, Any] = {name: piece}
            if name in _CALLED:
                head = {"id": f"call-{call}"} if name == "name" and not place else {}
                delta = {"tool_calls": [{"index": call, **head, "function": {name: piece}}]}
            yield _piece(index, delta)


def _spelled(chance: random.Random, index: int, name: str, text: str) -> Iterator[dict[str, Any]]:
    """Pieces with tokens of one byte each; the text of a frame are the characters that it completes."""
    spelled = text.encode()
    cuts = sorted({0, len(spelled), *chance.choices(range(len(spelled) + 1), k=chance.randint(0, 9))})
    for begin, end in zip(cuts, cuts[1:] or [0], strict=False):
        read = [spelled[:place].decode(errors="ignore") for place in (begin, end)]
        logprobs = {"content": [_token(place, spelled) for place in range(begin, end)]}
        yield {**_piece(index, {name: read[1][len(read[0]) :]}), "logprobs": logprobs}


def _token(place: int, spelled: bytes) -> dict[str, Any]:
    byte = spelled[place : place + 1]
    return {"token": byte.decode(errors="replace"), "logprob": place, "bytes": [*byte], "top_logprobs": []}


def _whole_choice(index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {}
    calls: defaultdict[int, dict[str, str]] = defaultdict(dict)
    logprobs = None
    for (name, call), text in choice.texts.items():
        if name in _CALLED:
            calls[call][name] = text
        else:
            message[name] = text
        spelled = text.encode()
        if choice.spells:
            logprobs = {"content": [_token(place, spelled) for place in range(len(spelled))]}
    message["tool_calls"] = [{"function": function} for function in calls.values()]
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": "stop"}


def _piece(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _frame(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {**_HEAD, "choices": choices}


def _cut(chance: random.Random, stream: bytes) -> list[bytes]:
    step = chance.choice([1, 7, 60, 400, len(stream)])
    return [stream[place : place + step] for place in range(0, len(stream), step)]

"""Answers of chats and completions, as server-sent events or whole."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pydantic_core

from serve_app.filtering.choice import ChoiceFilter
from serve_app.filtering.event import END
from serve_app.filtering.policy import Policy
from serve_app.filtering.verdict import Scanned, Verdict, findings

# The frames of nearly all tokens, as vLLM 0.29 writes them. What is not of this form exactly, a text with
# an escape for one, is parsed.
_USUAL_CHAT: Final = re.compile(
    rb'data: \{"id":"[^"\\]*","object":"chat\.completion\.chunk","created":\d+,"model":"[^"\\]*",'
    rb'"choices":\[\{"index":(\d+),"delta":\{"(content|reasoning_content|reasoning)":"([^"\\\x00-\x1f]+)"\},'
    rb'"logprobs":null,"finish_reason":null(?:,"token_ids":null)?\}\]\}'
)
_USUAL_COMPLETION: Final = re.compile(
    rb'data: \{"id":"[^"\\]*","object":"text_completion","created":\d+,"model":"[^"\\]*",'
    rb'"choices":\[\{"index":(\d+),"(text)":"([^"\\\x00-\x1f]+)","logprobs":null,"finish_reason":null,'
    rb'"stop_reason":null(?:,"prompt_token_ids":null)?(?:,"token_ids":null)?\}\]\}'
)
_DATA: Final = b"data: "
_DONE: Final = b"data: [DONE]"
# What a choice may hold beside its texts without saying anything.
_FRAME_ONLY: Final = frozenset({"index", "type"})
_FRAME_OWN: Final = frozenset({"choices", "usage", "prompt_token_ids", "prompt_text", "metrics"})
_COMPLETION: Final = "text_completion"


class AnswerFilter:
    """Filters one answer, which may have several choices.

    Args:
        policy: What is looked for; None: nothing is, and everything passes.
        choices: How many choices the answer has.
    """

    def __init__(self, policy: Policy | None, choices: int) -> None:
        self._policy = policy if policy is not None and policy.looks else None
        self._expected = choices
        self._choices: dict[int, ChoiceFilter] = {}
        self._version = policy.lexicon_version if policy is not None else ""
        self._finished: set[int] = set()
        self._head: dict[str, Any] = {}
        self._rest = b""

    @property
    def stopped(self) -> bool:
        """Whether the engine works on nothing but choices that were blocked, and may stop."""
        ended = {index for index, choice in self._choices.items() if choice.ended}
        return len(ended) >= self._expected and not ended <= self._finished

    @property
    def verdict(self) -> Verdict:
        """What was found so far."""
        tallies = [tally for choice in self._choices.values() for tally in choice.tallies]
        scanned = Scanned.NOTHING if self._policy is None else Scanned.ALL
        return Verdict(findings(tallies), self._version, scanned)

    def feed(self, chunk: bytes) -> bytes:
        """Filter the next events of a stream; returns the events to send, which may be none.

        Text that is still held when the stream ends is sent before its usage or ``[DONE]``; after an error,
        or where the stream just breaks off, it is not.

        Raises:
            ValueError: An event is no JSON object, and cannot be read.
        """
        if self._policy is None:
            return chunk
        *frames, self._rest = (self._rest + chunk).split(END)
        return b"".join(shown + END for frame in frames if (shown := self._frame(frame, self._policy)))

    def body(self, body: bytes) -> bytes:
        """Filter a whole answer; one without choices, such as embeddings, passes unchanged.

        Raises:
            ValueError: It is no JSON object.
        """
        if self._policy is None or b'"choices"' not in body:
            return body
        answer = _object(body)
        changed = False
        for choice in answer.get("choices") or ():
            changed |= self._apply(choice, self._choice(choice, self._policy), "message", ends=True)
        return pydantic_core.to_json(answer) if changed else body

    def _frame(self, frame: bytes, policy: Policy) -> bytes:
        usual = _USUAL_CHAT.fullmatch(frame) or _USUAL_COMPLETION.fullmatch(frame)
        if usual is not None:
            choice = self._choices.get(int(usual[1]))
            if choice is not None and not choice.ended and not choice.holds_tokens:
                return self._usual(frame, usual, choice)
        if frame == _DONE:
            return self._held() + frame
        lines = frame.split(b"\n")
        data = b"\n".join(line[5:] for line in lines if line.startswith(b"data:"))
        if not data:
            return frame
        event = _object(data)
        if not event.get("choices"):
            return self._unspoken(frame, event)
        self._head = {name: value for name, value in event.items() if name not in _FRAME_OWN}
        kept, changed = self._kept(event["choices"], policy)
        if not changed:
            return frame
        others = [line for line in lines if not line.startswith(b"data:")]
        return (
            b"\n".join([*others, _DATA + pydantic_core.to_json({**event, "choices": kept})]) if kept else b""
        )

    def _unspoken(self, frame: bytes, event: dict[str, Any]) -> bytes:
        """A frame without choices: the usage, which ends a stream; an error, which breaks it off."""
        if "error" in event:
            self._finished |= self._choices.keys()
            for choice in self._choices.values():
                choice.ended = True
        return (self._held() if event.get("usage") else b"") + frame

    def _held(self) -> bytes:
        """What is held of choices that never finished, as a frame before the last one."""
        said = "text" if self._head.get("object") == _COMPLETION else "delta"
        kept = []
        for index, state in self._choices.items():
            choice = {"index": index, said: "" if said == "text" else {}, "finish_reason": None}
            if not state.ended and self._apply(choice, state, said, ends=True) and _says(choice):
                kept.append(choice)
        return _DATA + pydantic_core.to_json({**self._head, "choices": kept}) + END if kept else b""

    def _kept(self, choices: list[dict[str, Any]], policy: Policy) -> tuple[list[dict[str, Any]], bool]:
        """The choices of a frame that still say something, and whether anything was changed."""
        kept: list[dict[str, Any]] = []
        any_changed = False
        for choice in choices:
            state = self._choice(choice, policy)
            ends = choice.get("finish_reason") is not None
            if ends:
                self._finished.add(choice.get("index", 0))
            if state.ended:
                any_changed = True
                continue
            changed = self._apply(choice, state, "delta", ends=ends)
            any_changed |= changed
            if not changed or _says(choice):
                kept.append(choice)
        return kept, any_changed

    def _apply(self, choice: dict[str, Any], state: ChoiceFilter, said: str, *, ends: bool) -> bool:
        """Filter a choice, whose texts are in ``said``, or in itself, as a completion's."""
        if isinstance(choice.get(said), dict):
            return state.apply(choice, choice[said], ends=ends)
        text = {"text": choice["text"]} if isinstance(choice.get("text"), str) else {}
        changed = state.apply(choice, text, ends=ends)
        choice.update(text)
        return changed

    def _choice(self, choice: dict[str, Any], policy: Policy) -> ChoiceFilter:
        index = choice.get("index", 0)
        found = self._choices.get(index)
        if found is None:
            found = self._choices[index] = ChoiceFilter(policy)
        return found

    def _usual(self, frame: bytes, usual: re.Match[bytes], choice: ChoiceFilter) -> bytes:
        """The fast way: the same bytes where the text passes whole, otherwise another text in its place."""
        came = usual[3].decode()
        name = usual[2].decode()
        text = choice.text((name,))
        shown = text.feed(came)
        if shown == came:
            return frame
        if text.blocked:
            event = pydantic_core.from_json(frame[len(_DATA) :])
            blocked = event["choices"][0]
            blocked.get("delta", blocked)[name] = shown
            choice.block(blocked)
            return _DATA + pydantic_core.to_json(event)
        if not shown:
            return b""
        spelled = json.dumps(shown, ensure_ascii=False)[1:-1].encode()
        return frame[: usual.start(3)] + spelled + frame[usual.end(3) :]


def _says(value: Any) -> bool:
    """Whether anything is left of a choice or of what is in it."""
    if isinstance(value, dict):
        return any(_says(part) for name, part in value.items() if name not in _FRAME_ONLY)
    if isinstance(value, list):
        return any(map(_says, value))
    return value is not None and value != ""


def _object(data: bytes) -> dict[str, Any]:
    value = pydantic_core.from_json(data)
    if not isinstance(value, dict):
        raise ValueError("an answer of the engine is no JSON object")
    return value

"""The texts of requests and answers, as the classifier reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from serve_app.filtering import escapes

TextPath: TypeAlias = tuple[str | int, ...]
"""Which text of a choice it is."""

ARGUMENTS: Final = "arguments"
_NOT_FOR_THE_MODEL: Final = frozenset({"model", "user", "request_id"})
_NO_TEXT: Final = frozenset({"role", "type", "id", "tool_call_id"})
_TOKEN_IDS: Final = frozenset({"prompt", "input", "prompt_token_ids"})
_IMAGE: Final = "image_url"
_PART_TEXTS: Final = ("text", "refusal", "thinking")


@dataclass(slots=True)
class PromptTexts:
    """What a request says.

    Attributes:
        texts: Messages, prompts, documents; of other fields all that is text.
        unread: What is there and is no text: ``images``, ``token_ids``, ``vectors``.
    """

    texts: list[str] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)


def of_prompt(body: dict[str, Any]) -> PromptTexts:
    """The texts of a request's body, whatever its fields are called."""
    found = PromptTexts()
    for name, value in body.items():
        if name == "messages" and isinstance(value, list):
            for message in value:
                _read_message(message, found)
        elif name == "prompt_embeds" and value is not None:
            found.unread.add("vectors")
        elif name not in _NOT_FOR_THE_MODEL:
            if name in _TOKEN_IDS and _holds_numbers(value):
                found.unread.add("token_ids")
            _read_field(value, found)
    return found


def of_choice(said: dict[str, Any]) -> Iterator[tuple[TextPath, str]]:
    """The texts of a delta or message. Texts under names that are not known here are texts too."""
    for name, value in said.items():
        if isinstance(value, str) and name not in _NO_TEXT:
            yield (name,), value
    yield from _of_function(said.get("function_call"), ("function_call",))
    for place, call in enumerate(said.get("tool_calls") or ()):
        yield from _of_function(call.get("function"), ("tool_calls", call.get("index", place)))


def readable(text: str, path: TextPath) -> str:
    r"""A text as it is meant: the arguments of a tool call are JSON, where ``\u4e2d`` is a character."""
    if path[-1] != ARGUMENTS or "\\" not in text:
        return text
    return "".join(char for char, _ in escapes.units(text))


def _of_function(function: Any, path: TextPath) -> Iterator[tuple[TextPath, str]]:
    for name in ("name", ARGUMENTS) if isinstance(function, dict) else ():
        if isinstance(function.get(name), str):
            yield (*path, name), function[name]


def _read_message(message: Any, found: PromptTexts) -> None:
    if not isinstance(message, dict):
        _read_field(message, found)
        return
    for name, value in message.items():
        if name == "content" and isinstance(value, list):
            found.texts.append("".join(_of_parts(value, found)))
        elif name not in _NO_TEXT:
            _read_field(value, found)


def _of_parts(parts: list[Any], found: PromptTexts) -> Iterator[str]:
    """The parts of one message, which a model reads as one text."""
    for part in parts:
        if isinstance(part, dict) and _IMAGE in part:
            found.unread.add("images")
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            yield from (part[name] for name in _PART_TEXTS if isinstance(part.get(name), str))
            others = {name: value for name, value in part.items() if name not in (*_PART_TEXTS, _IMAGE)}
            _read_field(others, found)


def _read_field(value: Any, found: PromptTexts) -> None:
    if isinstance(value, str):
        found.texts.append(value)
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        found.texts += value
    elif isinstance(value, dict | list):
        # Such as tools: names and descriptions stand in the prompt as one text.
        found.texts.append(" ".join(_strings(value)))


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name not in _NO_TEXT or not isinstance(part, str):
                yield name
                yield readable(part, (name,)) if isinstance(part, str) else " ".join(_strings(part))


def _holds_numbers(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(part, int) or _holds_numbers(part) for part in value)

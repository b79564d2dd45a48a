"""Where the texts of a request are: a walk through its body, however deeply it is nested."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

_NOT_FOR_THE_MODEL: Final = frozenset({"model", "user", "request_id"})
_MESSAGES: Final = frozenset({"messages", "query", "queries", "documents", "text_1", "text_2", "items"})
_TOKEN_IDS: Final = frozenset({"prompt", "input", "prompt_token_ids"})
_VECTORS: Final = "prompt_embeds"
_CONTENT: Final = "content"
_MEDIA: Final = {
    "image_url": "images",
    "image_embeds": "images",
    "image_pil": "images",
    "video_url": "videos",
    "input_audio": "audio",
    "audio_url": "audio",
    "audio_embeds": "audio",
}
_PART_TEXTS: Final = ("text", "refusal", "thinking")


class _Kind(Enum):
    """What an object or a list is in a request."""

    MESSAGES = auto()
    """A message, or something that has a content as messages do; or a list of these."""
    PARTS = auto()
    PART = auto()
    OTHER = auto()


@dataclass(slots=True)
class Place:
    """A place in a request that holds a text."""

    owner: Any
    name: str | int

    @property
    def key(self) -> tuple[int, str | int]:
        """Tells it from other places of the same request."""
        return id(self.owner), self.name

    @property
    def text(self) -> str:
        """What stands there."""
        text: str = self.owner[self.name]
        return text

    @text.setter
    def text(self, text: str) -> None:
        self.owner[self.name] = text


class RequestTexts:
    """The texts of one request.

    Args:
        body: Stays as it is.

    Attributes:
        body: A copy, in which the texts may be replaced.
        places: All texts.
        messages: The texts of those messages that have several, part by part.
        names: Of all fields within the fields of the body, and how many have it.
        unread: What is there and is no text: ``images``, ``videos``, ``audio``, ``token_ids``, ``vectors``.
    """

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = {**body}
        self.places: list[Place] = []
        self.messages: list[list[Place]] = []
        self.names: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self._open: list[tuple[Any, _Kind]] = []
        for name, value in body.items():
            self._enter(name, value)
        # Not by recursion: a client decides how deep a body is.
        while self._open:
            self._read(*self._open.pop())

    def _enter(self, name: str, value: Any) -> None:
        if name in _NOT_FOR_THE_MODEL:
            return
        if name == _VECTORS and value is not None:
            self.unread["vectors"] += 1
            return
        if name in _TOKEN_IDS and _holds_ids(value):
            self.unread["token_ids"] += 1
        self._note(self.body, name, value, _Kind.MESSAGES if name in _MESSAGES else _Kind.OTHER)

    def _read(self, owner: Any, kind: _Kind) -> None:
        fields = owner.items() if isinstance(owner, dict) else enumerate(owner)
        for name, value in list(fields):
            if isinstance(owner, dict):
                self.names[name] += 1
            if kind is _Kind.PART and name in _MEDIA:
                self.unread.update([_MEDIA[name]] if value is not None else [])
            else:
                self._note(owner, name, value, _kind_within(owner, kind, name))
        if kind is _Kind.PARTS and isinstance(owner, list):
            self._note_message(owner)

    def _note(self, owner: Any, name: str | int, value: Any, kind: _Kind) -> None:
        if isinstance(value, str):
            self.places.append(Place(owner, name))
        elif isinstance(value, dict | list):
            owner[name] = value.copy()
            self._open.append((owner[name], kind))

    def _note_message(self, parts: list[Any]) -> None:
        texts: list[Place] = []
        for place, part in enumerate(parts):
            if isinstance(part, str):
                texts.append(Place(parts, place))
            elif isinstance(part, dict):
                texts += (Place(part, name) for name in _PART_TEXTS if isinstance(part.get(name), str))
        if len(texts) > 1:
            self.messages.append(texts)


def _kind_within(owner: Any, kind: _Kind, name: str | int) -> _Kind:
    if isinstance(owner, list):
        return _Kind.PART if kind is _Kind.PARTS else kind
    return _Kind.PARTS if kind is _Kind.MESSAGES and name == _CONTENT else _Kind.OTHER


def _holds_ids(value: Any) -> bool:
    """Whether there are numbers in a list, or in one of its lists."""
    if not isinstance(value, list):
        return False
    inner = (one for part in value if isinstance(part, list) for one in part)
    return any(isinstance(one, int) for one in (*value, *inner))

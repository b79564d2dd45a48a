"""The parts of a message's content: an allow-list, because the engine knows many ways to remote files.

The engine reads an ``image_url``, ``audio_url`` or ``video_url`` even out of a text part once that part has
a ``uuid`` (vLLM 0.29, ``chat_utils._parse_chat_message_content_mm_part``), and takes an image that another
client sent under the same ``uuid`` from its cache. So a part keeps the fields listed here and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serve_app.errors import InvalidRequest, UnknownField

# Type of a text-like part -> the field that holds its text.
_TEXT_FIELDS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
# Hints for other services that clients send along. They change no answer here and are dropped.
_HINTS = frozenset({"cache_control", "min_pixels", "max_pixels"})
_DETAILS = ("auto", "low", "high")
_ONLY = "Only text and image_url parts are accepted."


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image of a request.

    Attributes:
        url: What the client sent.
        param: Path of the field, for errors.
        target: The rebuilt ``image_url`` object, whose ``url`` is to be set to the verified image.
    """

    url: str
    param: str
    target: dict[str, Any]


def read_messages(messages: object) -> tuple[list[dict[str, Any]], list[ImageRef]]:
    """Messages with rebuilt content parts, and the images in them.

    `messages` stays as it is. Messages whose content is plain text are taken over, not copied; an image's
    part has no ``url`` until the caller sets it.

    Raises:
        InvalidRequest: Something other than a list of messages with text or lists of accepted parts.
    """
    if not isinstance(messages, list):
        raise InvalidRequest("messages must be a list of message objects.", param="messages")
    images: list[ImageRef] = []
    return [_message(message, index, images) for index, message in enumerate(messages)], images


def _message(message: object, index: int, images: list[ImageRef]) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise InvalidRequest("A message must be an object with role and content.", param=f"messages[{index}]")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return message
    path = f"messages[{index}].content"
    if not isinstance(content, list):
        raise InvalidRequest("content must be a text or a list of parts.", param=path)
    parts = [_part(part, f"{path}[{place}]", images) for place, part in enumerate(content)]
    return {**message, "content": parts}


def _part(part: object, path: str, images: list[ImageRef]) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise InvalidRequest(f"A part must be an object with a type. {_ONLY}", param=path)
    kind = part.get("type")
    if kind == "image_url":
        _check_fields(part, {"type", "image_url"}, path)
        return {"type": "image_url", "image_url": _image(part.get("image_url"), path, images)}
    if not isinstance(kind, str) or kind not in _TEXT_FIELDS:
        raise InvalidRequest(f"The part's type is missing or not accepted. {_ONLY}", param=f"{path}.type")
    return _text(part, kind, path)


def _text(part: dict[str, Any], kind: str, path: str) -> dict[str, Any]:
    field = _TEXT_FIELDS[kind]
    fields = {"type", field, "closed"} if kind == "thinking" else {"type", field}
    _check_fields(part, fields, path)
    if not isinstance(part.get(field), str):
        raise InvalidRequest(f"{field} must be a text.", param=f"{path}.{field}")
    if not isinstance(part.get("closed", False), bool):
        raise InvalidRequest("closed must be true or false.", param=f"{path}.closed")
    return {name: value for name, value in part.items() if name in fields}


def _image(value: object, path: str, images: list[ImageRef]) -> dict[str, Any]:
    param = f"{path}.image_url"
    target: dict[str, Any] = {}
    if isinstance(value, dict):
        _check_fields(value, {"url", "detail"}, param)
        detail = value.get("detail")
        if detail is not None:
            if detail not in _DETAILS:
                raise InvalidRequest("detail must be auto, low or high.", param=f"{param}.detail")
            target["detail"] = detail
        value = value.get("url")
    if not isinstance(value, str):
        raise InvalidRequest(
            'image_url must be {"url": "..."} or a text, with a data: or https: URL.', param=param
        )
    images.append(ImageRef(value, param, target))
    return target


def _check_fields(value: dict[str, Any], known: set[str], path: str) -> None:
    if not value.keys() <= known and not value.keys() <= known | _HINTS:
        raise UnknownField(
            f"This part has a field that is not accepted here; accepted are {', '.join(sorted(known))}. "
            "Remove the others.",
            param=path,
        )

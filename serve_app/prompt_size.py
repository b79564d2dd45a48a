"""How many tokens a prompt has at most, before an engine has counted them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from serve_app.images.parts import read_messages

_DECAY: Final = 0.999
"""By which the densest prompt seen is forgotten with each further one."""
_MARGIN: Final = 1.1
_TOKENS_PER_IMAGE: Final = 1280
"""The largest image of Qwen2-VL's own examples, which call for `max_pixels` of 1280 * 28 * 28."""


@dataclass(frozen=True, slots=True)
class PromptSize:
    """What the ingress sees of a prompt.

    Attributes:
        text_bytes: Of the request's JSON, without its images.
        images: How many there are.
        prompts: How many the engine reads; each fits the model's context by itself.
    """

    text_bytes: int
    images: int = 0
    prompts: int = 1


def measure(content: bytes, body: Mapping[str, Any], prompts: int) -> PromptSize:
    """The size of a request's prompt; an image counts as an image, and not by the bytes of its URL.

    Args:
        content: The request's body as it came.
        body: The same, read.
        prompts: How many the engine reads.

    Raises:
        InvalidRequest: The messages are not of the right form.
    """
    images = read_messages(body["messages"])[1] if "messages" in body else []
    return PromptSize(max(0, len(content) - sum(len(image.url) for image in images)), len(images), prompts)


class PromptBound:
    """Bounds prompts by their bytes: a token of Qwen's byte-level vocabulary is at least one byte.

    Most are three to five, so the densest prompt of late, with a margin, is taken where there was one; what
    is reserved too little by it is charged when the engine has counted. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._tokens_per_byte: dict[str, float] = {}

    def tokens(self, model_id: str, size: PromptSize, max_model_len: int | None) -> int:
        """At most so many tokens.

        Args:
            model_id: Whose tokens.
            size: Of the prompt.
            max_model_len: The model's context; no single prompt is longer.
        """
        ratio = min(1.0, self._tokens_per_byte.get(model_id, 1.0) * _MARGIN)
        bound = max(1, int(size.text_bytes * ratio)) + size.images * _TOKENS_PER_IMAGE
        return bound if max_model_len is None else min(bound, max_model_len * size.prompts)

    def learn(self, model_id: str, size: PromptSize, prompt_tokens: int) -> None:
        """The engine has counted a prompt."""
        if prompt_tokens and size.text_bytes and not size.images:
            known = self._tokens_per_byte.get(model_id, 0.0)
            self._tokens_per_byte[model_id] = max(prompt_tokens / size.text_bytes, known * _DECAY)

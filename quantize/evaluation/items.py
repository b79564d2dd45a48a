"""What two checkpoints are compared on: held-out texts and chats, and questions with exact answers.

A file of JSON lines, each one of

- ``{"text": ...}``: every token counts;
- ``{"messages": [..., {"role": "assistant", ...}]}``: the tokens of the last answer count, after the model's own
  chat template;
- ``{"messages": [..., {"role": "user", ...}], "answer": ...}``: a question; images as in OpenAI's form.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quantize.errors import QuantizeError
from quantize.fingerprint import fingerprint

DEFAULT: Final = Path(__file__).parents[1] / "data" / "evaluation.jsonl"
"""The set that comes with the repository: written for it, English and Chinese."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A text that neither checkpoint has been calibrated with.

    Attributes:
        text: All of it, or the last answer of a chat.
        before: The messages before the answer; None for a plain text.
    """

    text: str
    before: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its exact answer."""

    messages: tuple[dict[str, Any], ...]
    answer: str


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The content of a file.

    Attributes:
        name: The file's.
        sha256: Of its content.
        held_out: Texts and chats.
        questions: Questions.
    """

    name: str
    sha256: str
    held_out: tuple[HeldOut, ...]
    questions: tuple[Question, ...]

    def check_apart(self, calibration: Iterable[str]) -> None:
        """Nothing here may have been calibrated with.

        Raises:
            QuantizeError: A text is in both sets.
        """
        known = {fingerprint(text) for text in calibration}
        for item in self.held_out:
            words = [message["content"] for message in item.before or ()]
            if fingerprint("\n".join([*map(str, words), item.text])) in known:
                raise QuantizeError(
                    f"{self.name} has a text that the calibration has too: {item.text[:40]!r}...; "
                    "held-out text must be another, take it out of one of them"
                )


def read_set(path: Path) -> EvaluationSet:
    """Read a file.

    Raises:
        QuantizeError: It cannot be read, a line has none of the forms, or it has no held-out text.
    """
    try:
        content = path.read_bytes()
        lines = content.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise QuantizeError(f"evaluation file {path} cannot be read ({error})") from error
    items = list(_items(path, lines))
    held_out = tuple(item for item in items if isinstance(item, HeldOut))
    if not held_out:
        raise QuantizeError(f"evaluation file {path} has no held-out text; add lines with text or messages")
    questions = tuple(item for item in items if isinstance(item, Question))
    return EvaluationSet(path.name, hashlib.sha256(content).hexdigest(), held_out, questions)


def _items(path: Path, lines: list[str]) -> Iterator[HeldOut | Question]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield _item(json.loads(line), path.parent)
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                raise QuantizeError(
                    f"{path}, line {number}: neither a text, nor messages that end with an answer, nor "
                    "messages with an answer beside them; mend the line"
                ) from error


def _item(row: dict[str, Any], folder: Path) -> HeldOut | Question:
    if isinstance(row.get("text"), str):
        return HeldOut(row["text"])
    messages = tuple(row["messages"])
    last = messages[-1]
    if "answer" in row:
        if not isinstance(row["answer"], str) or last["role"] == "assistant":
            raise ValueError
        return Question(tuple(_inlined(message, folder) for message in messages), row["answer"])
    if last["role"] != "assistant" or not all(isinstance(m["content"], str) for m in messages):
        raise ValueError
    return HeldOut(last["content"].strip(), messages[:-1])


def _inlined(message: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A message whose images are all ``data:`` URLs; the engine opens no files."""
    content = message["content"]
    if isinstance(content, str):
        return message
    return {**message, "content": [_part(part, folder) for part in content]}


def _part(part: dict[str, Any], folder: Path) -> dict[str, Any]:
    if part["type"] != "image_url" or str(part["image_url"]["url"]).startswith("data:"):
        return part
    path = folder / part["image_url"]["url"]
    try:
        encoded = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise QuantizeError(f"image {path} cannot be read ({error.strerror})") from error
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{encoded}"}}

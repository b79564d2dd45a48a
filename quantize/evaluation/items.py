"""The evaluation file: held-out texts and chats, and questions with exact answers.

JSON lines, each one of::

    {"text": "..."}                                                held out; every token counts
    {"messages": [..., {"role": "assistant", "content": "..."}]}   held out; the last answer's tokens count
    {"messages": [..., {"role": "user", ...}], "answer": "..."}    a question; answered greedily

A message's content is a text, or OpenAI's parts of type ``text`` and ``image_url`` (a ``data:`` URL or a
path relative to the file).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from quantize.errors import QuantizeError
from quantize.fingerprint import fingerprint

DEFAULT: Final = Path(__file__).parents[1] / "data" / "evaluation.jsonl"
"""The set that comes with the repository: written for it, English and Chinese."""

_Filled = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextPart(_Strict):
    """A text in a message."""

    type: Literal["text"]
    text: str


class ImageAddress(_Strict):
    """Where an image is."""

    url: _Filled


class ImagePart(_Strict):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: ImageAddress


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(_Strict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: _Filled | tuple[Part, ...]

    @property
    def words(self) -> str:
        """Its text, with an image's address in the image's place."""
        if isinstance(self.content, str):
            return self.content
        return " ".join(
            part.text if isinstance(part, TextPart) else part.image_url.url for part in self.content
        )


class Text(_Strict):
    """A held-out text."""

    text: _Filled

    @property
    def words(self) -> str:
        """All of it."""
        return self.text


class Chat(_Strict):
    """A held-out chat; its last message is the assistant's."""

    messages: tuple[Message, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _ends_with_an_answer(self) -> Chat:
        if self.messages[-1].role != "assistant" or not isinstance(self.messages[-1].content, str):
            raise ValueError("the last message must be the assistant's text, or give an `answer`")
        return self

    @property
    def words(self) -> str:
        """All of its words."""
        return "\n".join(message.words for message in self.messages)


class Question(_Strict):
    """A question with its exact answer."""

    messages: tuple[Message, ...] = Field(min_length=1)
    answer: _Filled

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> Question:
        if self.messages[-1].role != "user":
            raise ValueError("the last message of a question must be the user's")
        return self

    @property
    def words(self) -> str:
        """Question and answer."""
        return "\n".join((*(message.words for message in self.messages), self.answer))


Record = Text | Chat | Question


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """What two checkpoints are compared on.

    Attributes:
        path: The file; images' paths are relative to its folder.
        sha256: Of its content, in hexadecimal.
        records: By their line in the file, counted from 1.
    """

    path: Path
    sha256: str
    records: Mapping[int, Record]

    @property
    def name(self) -> str:
        """The file's."""
        return self.path.name

    @property
    def folder(self) -> Path:
        """Where the paths of images begin."""
        return self.path.parent

    def overlap(self, calibration: Iterable[str]) -> list[int]:
        """Lines that the calibration holds as well, whatever their form.

        Args:
            calibration: All words of each sample, as ``quantize.calibration.Calibration.texts`` has them.
        """
        used = {fingerprint(text) for text in calibration}
        return [line for line, record in self.records.items() if fingerprint(record.words) in used]

    def check_apart(self, calibration: Iterable[str]) -> None:
        """Nothing here may have been calibrated with.

        Args:
            calibration: All words of each sample.

        Raises:
            QuantizeError: Some of it is the same.
        """
        if lines := self.overlap(calibration):
            raise QuantizeError(
                f"{self.path}, {_lines(lines)}: also in the calibration data, and the loss would look "
                "smaller than it is; take it out of one of them"
            )


def read_set(path: Path) -> EvaluationSet:
    """Read an evaluation file.

    Raises:
        QuantizeError: It cannot be read, a line is none of the three forms, or nothing in it is held out.
    """
    try:
        content = path.read_bytes()
        lines = content.decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise QuantizeError(f"evaluation file {path} cannot be read ({error})") from error
    records = {
        number: _record(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()
    }
    if not any(isinstance(record, Text | Chat) for record in records.values()):
        raise QuantizeError(f"evaluation file {path} has no held-out text or chat; add some")
    return EvaluationSet(path, hashlib.sha256(content).hexdigest(), records)


def _lines(numbers: Sequence[int], shown: int = 5) -> str:
    named = ", ".join(map(str, numbers[:shown]))
    more = f" and {len(numbers) - shown} more" if len(numbers) > shown else ""
    return f"line{'s' if len(numbers) > 1 else ''} {named}{more}"


def _record(path: Path, number: int, line: str) -> Record:
    where = f"evaluation file {path}, line {number}"
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise QuantizeError(f"{where}: no JSON ({error}); each line must be one object") from error
    if not isinstance(row, dict):
        raise QuantizeError(f"{where}: not an object; give text, messages, or messages and answer")
    form = Text if "text" in row else Question if "answer" in row else Chat
    try:
        return form.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise QuantizeError(f"{where}: {f'{place}: ' if place else ''}{said}") from error

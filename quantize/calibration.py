"""Calibration data: what runs through the model while it is quantized.

A file of JSON lines, each ``{"text": ...}`` or ``{"messages": [...]}`` (OpenAI's form, images as ``data:``
URLs or files), or plain text with an empty line between samples. Messages go through the model's own chat
template, so that the model sees what it will see when it serves.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantize.errors import QuantizeError
from quantize.fingerprint import fingerprint
from quantize.images import split_images
from quantize.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT: Final = Path(__file__).parent / "data" / "calibration.jsonl"
"""The set that comes with the repository: written for it, English and Chinese."""

SHORTEST_TOKENS: Final = 11
"""Fewer say nothing of how tokens follow each other; GPTQModel's own bound."""


@dataclass(frozen=True, slots=True)
class Record:
    """A sample as it was written.

    Attributes:
        text: All of its words; what repetitions are told by.
        messages: Of a chat; None for a plain text.
    """

    text: str
    messages: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is run through the model.

    Attributes:
        name: The file's.
        samples: Arguments of the model, one sample each: ``input_ids [1, tokens]`` and, with images, what the
            processor makes of them.
        texts: The samples' words.
        repeated: Records that were left out because they are the same as another.
        short: Records that were left out because they are too short.
        sha256: Of everything that runs through the model.
    """

    name: str
    samples: tuple[Mapping[str, Tensor], ...]
    texts: tuple[str, ...]
    repeated: int
    short: int
    sha256: str

    @property
    def tokens(self) -> int:
        """Of all samples."""
        return sum(sample["input_ids"].numel() for sample in self.samples)


def calibrate(source: Path, model: Path, settings: Settings) -> Calibration:
    """Read, choose and encode calibration data.

    Args:
        source: The file.
        model: The checkpoint's folder, for its tokenizer and chat template.
        settings: How many samples, how long, which seed.

    Raises:
        QuantizeError: The file cannot be read, or nothing in it is long enough.
    """
    records = read_records(source)
    unique = list({fingerprint(record.text): record for record in records}.values())
    random.Random(settings.seed).shuffle(unique)  # noqa: S311
    encode = Encoder(model, settings.sequence_length, source.parent)
    samples: list[Mapping[str, Tensor]] = []
    texts = []
    short = 0
    for record in unique:
        if len(samples) == settings.samples:
            break
        sample = encode(record)
        if sample["input_ids"].numel() < SHORTEST_TOKENS:
            short += 1
            continue
        samples.append(sample)
        texts.append(record.text)
    if not samples:
        raise QuantizeError(f"{source} has no sample of {SHORTEST_TOKENS} tokens or more; give longer ones")
    return Calibration(
        source.name, tuple(samples), tuple(texts), len(records) - len(unique), short, _digest(samples)
    )


def read_records(source: Path) -> list[Record]:
    """All samples of a file.

    Raises:
        QuantizeError: No such file, a line that is none of the two forms, or nothing in it.
    """
    try:
        content = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QuantizeError(f"calibration file {source} cannot be read ({error})") from error
    if source.suffix in (".jsonl", ".json"):
        records = list(_json_records(source, content))
    else:
        records = [Record(part.strip()) for part in content.split("\n\n") if part.strip()]
    if not records:
        raise QuantizeError(f"calibration file {source} is empty; give samples, or leave --calibration out")
    return records


class Encoder:
    """Turns records into what the model takes.

    Args:
        model: The checkpoint's folder.
        sequence_length: Tokens at most; a longer text is cut, a longer chat with images is refused.
        folder: Where the paths of images begin.
    """

    def __init__(self, model: Path, sequence_length: int, folder: Path) -> None:
        from transformers import AutoProcessor

        try:
            self._processor: Any = AutoProcessor.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise QuantizeError(
                f"{model} has no tokenizer that can be read; copy its tokenizer's files"
            ) from error
        self._tokenizer: Any = getattr(self._processor, "tokenizer", self._processor)
        self._sequence_length = sequence_length
        self._folder = folder

    def __call__(self, record: Record) -> Mapping[str, Tensor]:
        """Arguments of the model."""
        if record.messages is None:
            return self._tokens(record.text)
        messages, images = split_images(list(record.messages), self._folder)
        if not self._tokenizer.chat_template and not getattr(self._processor, "chat_template", None):
            raise QuantizeError("the model has no chat template; calibrate it with plain texts")
        if not images:
            return self._tokens(self._rendered(self._tokenizer, messages))
        if self._processor is self._tokenizer:
            raise QuantizeError("the calibration has images and the model sees none; leave them out")
        text = self._rendered(self._processor, messages)
        encoded = self._processor(text=[text], images=images, return_tensors="pt")
        if encoded["input_ids"].shape[1] > self._sequence_length:
            raise QuantizeError(
                f"a sample with images has {encoded['input_ids'].shape[1]} tokens; "
                f"raise --sequence-length above {self._sequence_length}, or take smaller images"
            )
        # All of it is to be attended to; without the mask, attention takes its quick way.
        return {key: value for key, value in encoded.items() if key != "attention_mask"}

    def _tokens(self, text: str) -> Mapping[str, Tensor]:
        ids = self._tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        return {"input_ids": ids[:, : self._sequence_length]}

    @staticmethod
    def _rendered(template: Any, messages: list[dict[str, Any]]) -> str:
        text: str = template.apply_chat_template(messages, tokenize=False)
        return text


def _json_records(source: Path, content: str) -> Iterator[Record]:
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if isinstance(row.get("text"), str):
                yield Record(row["text"])
                continue
            messages = tuple(row["messages"])
            yield Record("\n".join(_words(message) for message in messages), messages)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise QuantizeError(
                f'{source}, line {number}: neither {{"text": ...}} nor {{"messages": [...]}}; mend the line'
            ) from error


def _words(message: Mapping[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    # An image's address is a part of what tells two samples apart.
    return " ".join(str(part.get("text") or part["image_url"]["url"]) for part in content)


def _digest(samples: Sequence[Mapping[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        for key in sorted(sample):
            tensor = sample[key].contiguous()
            digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()

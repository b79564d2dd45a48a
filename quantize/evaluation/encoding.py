"""Records become token ids, once, by the reference's tokenizer and template: both engines score the same."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.evaluation.items import Chat, EvaluationSet, Message, Question, Text
from quantize.evaluation.job import Job, Prompt, Sequence
from quantize.images import split_images
from quantize.processor import load_processor

if TYPE_CHECKING:
    from PIL.Image import Image

SEQUENCE_TOKENS: Final = 2048
"""A longer text is scored in parts of so many tokens."""

LIKELIEST: Final = 256
"""Tokens of each distribution that are compared where the vocabulary is large."""

WHOLE_VOCABULARY: Final = 4096
"""Up to so many tokens the whole distribution is compared: the engine hands it over as Python objects."""

_SPARE_ANSWER_TOKENS: Final = 16
_SMALLEST_CACHE_BYTES: Final = 128 << 20
_CACHED_SEQUENCES: Final = 2


@dataclass(frozen=True, slots=True)
class _Encoded:
    token_ids: tuple[int, ...]
    length: int
    images: tuple[str, ...]


def encode(records: EvaluationSet, reference: Checkpoint, tensor_parallel_size: int, scratch: Path) -> Job:
    """The job for the reference's engine; another model's is the same but for the folder.

    Args:
        records: What to evaluate on.
        reference: The checkpoint whose tokenizer and template are taken.
        tensor_parallel_size: GPUs of one engine.
        scratch: An empty folder for the images, absolute.

    Raises:
        QuantizeError: No tokenizer or template, a chat that is longer than the model's context, or images for
            a model that sees none.
    """
    encoder = _Encoder(reference, records.folder, scratch)
    sequences: list[Sequence] = []
    prompts: list[Prompt] = []
    longest, images = 1, 0
    for line, record in records.records.items():
        try:
            if isinstance(record, Text):
                parts = encoder.text(line, record)
                sequences += parts
                longest = max(longest, *(len(part.token_ids) + 1 for part in parts), 1)
            elif isinstance(record, Chat):
                sequence, length = encoder.chat(line, record)
                sequences.append(sequence)
                longest, images = max(longest, length + 1), max(images, len(sequence.images))
            else:
                prompt, length = encoder.question(line, record)
                prompts.append(prompt)
                longest, images = max(longest, length + prompt.max_tokens), max(images, len(prompt.images))
        except QuantizeError as error:
            raise QuantizeError(f"evaluation file {records.path}, line {line}: {error}") from error
    if not sequences:
        raise QuantizeError(f"evaluation file {records.path} has no two tokens in a row to score; add text")
    vocabulary = int(reference.text_config.get("vocab_size") or WHOLE_VOCABULARY + 1)
    return Job(
        model=str(reference.folder.absolute()),
        sequences=tuple(sequences),
        prompts=tuple(prompts),
        likeliest=-1 if vocabulary <= WHOLE_VOCABULARY else LIKELIEST,
        max_model_len=longest,
        max_images=images,
        cache_bytes=_cache_bytes(reference.text_config, longest),
        tensor_parallel_size=tensor_parallel_size,
    )


class _Encoder:
    """The reference's tokenizer, template and processor."""

    def __init__(self, reference: Checkpoint, folder: Path, scratch: Path) -> None:
        self._processor, self._tokenizer = load_processor(reference.folder)
        self._context = int(reference.text_config.get("max_position_embeddings") or SEQUENCE_TOKENS)
        self._folder = folder
        self._scratch = scratch
        self._saved = 0

    def text(self, line: int, record: Text) -> list[Sequence]:
        """A text in parts; all tokens of a part count but the first, which nothing foretells."""
        ids = self._ids(record.text)
        size = min(SEQUENCE_TOKENS, self._context - 1)
        parts = [ids[start : start + size] for start in range(0, len(ids), size)]
        return [Sequence(line=line, token_ids=part, counted=len(part) - 1) for part in parts if len(part) > 1]

    def chat(self, line: int, record: Chat) -> tuple[Sequence, int]:
        """A chat up to its end, and its length in tokens; what the model would have generated counts."""
        messages, images = self._split(record.messages)
        whole = self._render(messages, generate=False).rstrip()
        prompt = _common_beginning(self._render(messages[:-1], generate=True), whole)
        answer = whole.removeprefix(prompt)
        if str(record.messages[-1].content).strip() not in answer:
            raise QuantizeError("the chat template leaves the last answer out; give the model's own template")
        # Apart, as the engine meets them: the prompt is encoded, the answer generated token by token.
        prefix, tail = self._ids(prompt), self._ids(answer)
        encoded = self._with_images(prefix + tail, images, whole)
        if encoded.length + 1 > self._context:
            raise QuantizeError(f"{encoded.length} tokens; the model's context has {self._context}")
        counted = Sequence(line=line, token_ids=encoded.token_ids, counted=len(tail), images=encoded.images)
        return counted, encoded.length

    def question(self, line: int, record: Question) -> tuple[Prompt, int]:
        """A prompt as the engine's own chat interface makes it, and its length in tokens."""
        messages, images = self._split(record.messages)
        text = self._render(messages, generate=True)
        encoded = self._with_images(self._ids(text), images, text)
        room = 2 * len(self._ids(record.answer)) + _SPARE_ANSWER_TOKENS
        if encoded.length + room > self._context:
            raise QuantizeError(
                f"{encoded.length + room} tokens with its answer; the model's context has {self._context}"
            )
        prompt = Prompt(line=line, token_ids=encoded.token_ids, max_tokens=room, images=encoded.images)
        return prompt, encoded.length

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _split(self, messages: Items[Message]) -> tuple[list[dict[str, Any]], list[Image]]:
        split, images = split_images([message.model_dump(mode="json") for message in messages], self._folder)
        if images and self._processor is self._tokenizer:
            raise QuantizeError("it has images and the model sees none; leave it out")
        return split, images

    def _render(self, messages: list[dict[str, Any]], *, generate: bool) -> str:
        template = self._tokenizer if self._tokenizer.chat_template else self._processor
        if not getattr(template, "chat_template", None):
            raise QuantizeError("the model has no chat template; evaluate it on plain texts")
        # A hybrid model is to answer at once: a thought would be cut off before the answer.
        text: str = template.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=generate, enable_thinking=False
        )
        return text

    def _with_images(self, ids: tuple[int, ...], images: list[Image], text: str) -> _Encoded:
        if not images:
            return _Encoded(ids, len(ids), ())
        # The engine puts an image's own tokens in its placeholder's place; how many, the processor knows.
        length = self._processor(text=[text], images=images, return_tensors="pt")["input_ids"].shape[1]
        names = []
        for image in images:
            self._saved += 1
            path = self._scratch / f"image-{self._saved:05}.png"
            image.save(path)
            names.append(str(path))
        return _Encoded(ids, length, tuple(names))


def _common_beginning(opened: str, whole: str) -> str:
    """Of a prompt and the finished chat: a template may open an answer unlike one that is given."""
    differ = (place for place, pair in enumerate(zip(opened, whole, strict=False)) if pair[0] != pair[1])
    return whole[: next(differ, min(len(opened), len(whole)))]


def _cache_bytes(config: dict[str, Any], max_model_len: int) -> int:
    """Of a KV cache for a few of the longest sequences, keys and values of 16 bits, on a CPU."""
    heads = int(config.get("num_attention_heads", 1))
    head = int(config.get("head_dim") or config.get("hidden_size", 0) // heads)
    per_token = (
        4 * int(config.get("num_hidden_layers", 0)) * int(config.get("num_key_value_heads", heads)) * head
    )
    # Whole blocks of up to 128 tokens.
    return max(_SMALLEST_CACHE_BYTES, _CACHED_SEQUENCES * per_token * (max_model_len + 128))

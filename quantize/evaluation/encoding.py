"""Records become token ids, once, by the reference's tokenizer and template: both engines score the same."""

from __future__ import annotations

from collections.abc import Sequence as Items
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.evaluation.items import Chat, EvaluationSet, Message, Question, Record, Text
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
    items: list[Sequence | Prompt] = []
    for line, record in records.records.items():
        try:
            items += encoder(line, record)
        except QuantizeError as error:
            raise QuantizeError(f"evaluation file {records.path}, line {line}: {error}") from error
    sequences = tuple(item for item in items if isinstance(item, Sequence))
    if not sequences:
        raise QuantizeError(f"evaluation file {records.path} has no two tokens in a row to score; add text")
    vocabulary = int(reference.text_config.get("vocab_size") or WHOLE_VOCABULARY + 1)
    return Job(
        model=str(reference.folder.absolute()),
        sequences=sequences,
        prompts=tuple(item for item in items if isinstance(item, Prompt)),
        likeliest=-1 if vocabulary <= WHOLE_VOCABULARY else LIKELIEST,
        max_model_len=encoder.longest,
        max_images=max(len(item.images) for item in items),
        cache_bytes=_cache_bytes(reference.text_config, encoder.longest),
        tensor_parallel_size=tensor_parallel_size,
    )


class _Encoder:
    """The reference's tokenizer, template and processor.

    Attributes:
        longest: Tokens of the longest sequence so far, with its images and what is generated after it.
    """

    def __init__(self, reference: Checkpoint, folder: Path, scratch: Path) -> None:
        self._processor, self._tokenizer = load_processor(reference.folder)
        self._context = int(reference.text_config.get("max_position_embeddings") or SEQUENCE_TOKENS)
        self._folder = folder
        self._scratch = scratch
        self._saved = 0
        self.longest = 1

    def __call__(self, line: int, record: Record) -> list[Sequence] | list[Prompt]:
        """What the engine is asked to do for a record.

        Raises:
            QuantizeError: It does not suit the model.
        """
        if isinstance(record, Text):
            return self._text(line, record)
        if isinstance(record, Chat):
            return [self._chat(line, record)]
        return [self._question(line, record)]

    def _text(self, line: int, record: Text) -> list[Sequence]:
        """A text in parts; all tokens of a part count but the first, which nothing foretells."""
        ids = self._ids(record.text)
        size = min(SEQUENCE_TOKENS, self._context - 1)
        parts = [ids[start : start + size] for start in range(0, len(ids), size)]
        self.longest = max(self.longest, *(len(part) + 1 for part in parts), 1)
        return [Sequence(line=line, token_ids=part, counted=len(part) - 1) for part in parts if len(part) > 1]

    def _chat(self, line: int, record: Chat) -> Sequence:
        """A chat up to its end; what the model would have generated counts."""
        messages, images = self._split(record.messages)
        whole = self._render(messages, generate=False).rstrip()
        prompt = _common_beginning(self._render(messages[:-1], generate=True), whole)
        answer = whole.removeprefix(prompt)
        if str(record.messages[-1].content).strip() not in answer:
            raise QuantizeError("the chat template leaves the last answer out; give the model's own template")
        # Apart, as the engine meets them: the prompt is encoded, the answer generated token by token.
        prefix, tail = self._ids(prompt), self._ids(answer)
        self._reserve(whole, images, len(prefix) + len(tail), generated=1)
        return Sequence(
            line=line, token_ids=prefix + tail, counted=len(tail), images=self._saved_files(images)
        )

    def _question(self, line: int, record: Question) -> Prompt:
        """A prompt as the engine's own chat interface makes it."""
        messages, images = self._split(record.messages)
        text = self._render(messages, generate=True)
        ids = self._ids(text)
        room = 2 * len(self._ids(record.answer)) + _SPARE_ANSWER_TOKENS
        self._reserve(text, images, len(ids), generated=room)
        return Prompt(line=line, token_ids=ids, max_tokens=room, images=self._saved_files(images))

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

    def _reserve(self, text: str, images: list[Image], tokens: int, generated: int) -> None:
        """See that a sequence fits the model's context, with what is generated after it."""
        if images:
            # The engine puts an image's own tokens in its placeholder's place; how many, the processor knows.
            encoded = self._processor(text=[text], images=images, return_tensors="pt")
            tokens = int(encoded["input_ids"].shape[1])
        if tokens + generated > self._context:
            raise QuantizeError(
                f"{tokens} tokens and {generated} to generate; the model's context has {self._context}"
            )
        self.longest = max(self.longest, tokens + generated)

    def _saved_files(self, images: list[Image]) -> tuple[str, ...]:
        """Images as files that the engine's process can read."""
        paths = []
        for image in images:
            self._saved += 1
            path = self._scratch / f"image-{self._saved:05}.png"
            image.save(path)
            paths.append(str(path))
        return tuple(paths)


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

"""The tokenizer that all demonstration models share: Qwen2's class with a small byte-level vocabulary."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deployments.demo import corpus
from deployments.demo.dialogue import weather_tool

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

__all__ = ["SPECIAL_TOKENS", "WORD_TOKENS", "train_tokenizer", "training_text"]

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Control tokens; never part of a text, skipped when an answer is decoded."""

WORD_TOKENS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
"""One token each, but kept in decoded text: the engine's parsers look for them there (as in Qwen3)."""


def train_tokenizer(vocab_size: int, texts: Iterable[str]) -> "Qwen2Tokenizer":
    """Train a byte-level BPE that Qwen2's tokenizer class reads back unchanged.

    Transformers 5 rebuilds Qwen2's own normalizer and pre-tokenizer for a `qwen2` folder, whatever
    `tokenizer.json` says, so the merges are learnt behind exactly these.

    Args:
        vocab_size: tokens in all, the 256 bytes, special and word tokens included.
        texts: what the merges are learnt from, in an order that does not vary.
    """
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    like = Qwen2Tokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE())
    learner.normalizer = like.normalizer
    learner.pre_tokenizer = like.pre_tokenizer
    learner.decoder = like.decoder
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS) - len(WORD_TOKENS),
        # "yes" and "no" must be single tokens for the reranker, however rare they are.
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    model = json.loads(learner.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        unk_token="<|endoftext|>",  # noqa: S106
        model_max_length=1 << 20,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS[1:])})
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in WORD_TOKENS])
    tokenizer.chat_template = corpus.template("chat.jinja")
    return tokenizer


def training_text() -> Iterator[str]:
    """Yield every text of the corpus and of the templates, frequent ones repeated so that they merge."""
    for text in _texts():
        # A run of Chinese has no spaces and would become one token: its characters stay apart, so that
        # the model can tell questions that share some of them.
        yield from re.findall(r"[\u3400-\u9fff]|[^\u3400-\u9fff]+", text)


def _texts() -> Iterator[str]:
    for loader in (
        corpus.load_chat,
        corpus.load_unknown,
        corpus.load_reasoning,
        corpus.load_completions,
        corpus.load_cities,
        corpus.load_conditions,
        corpus.load_image_questions,
        corpus.load_retrieval,
    ):
        for record in loader():
            yield from _strings(asdict(record))
    yield from corpus.load_systems()
    yield from [json.dumps(weather_tool(), ensure_ascii=False)] * 8
    for name in ("chat.jinja", "rerank.jinja"):
        yield from [corpus.template(name)] * 2
    yield from ["yes", "no", " yes", " no"] * 50


def _strings(record: dict[str, Any]) -> Iterator[str]:
    return (value for value in record.values() if isinstance(value, str) and value not in ("en", "zh"))

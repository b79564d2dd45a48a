"""A small tokenizer with a chat template, for checkpoints of the tests."""

from __future__ import annotations

from pathlib import Path

from deployments.demo.tokenizer import train_tokenizer

_WORDS = [
    "The quick brown fox jumps over the lazy dog and sleeps in the warm sun for a while, number 1234567890."
]


def write_tokenizer(folder: Path, vocab_size: int = 300) -> Path:
    """Save one, trained on a sentence."""
    train_tokenizer(vocab_size, _WORDS).save_pretrained(folder)
    return folder

"""What turns words and images into a model's input: its processor, and the tokenizer in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from quantize.errors import QuantizeError

_VOCABULARIES: Final = ("tokenizer.json", "vocab.json", "tokenizer.model")


def load_processor(folder: Path) -> tuple[Any, Any]:
    """A checkpoint's processor and its tokenizer; the same one where the model sees no images.

    Raises:
        QuantizeError: It has none that can be read.
    """
    from transformers import AutoProcessor

    wrong = f"{folder} has no tokenizer that can be read; copy its tokenizer's files"
    # Without any, transformers makes an empty tokenizer by itself, which turns every text into nothing.
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise QuantizeError(wrong)
    try:
        processor: Any = AutoProcessor.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise QuantizeError(wrong) from error
    return processor, getattr(processor, "tokenizer", processor)

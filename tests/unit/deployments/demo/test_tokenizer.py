"""The tokenizer gives every text back and survives saving as Qwen2's class."""

from pathlib import Path
from typing import Any

import pytest

from deployments.demo.tokenizer import SPECIAL_TOKENS, WORD_TOKENS

TEXTS = [
    "",
    " ",
    "What is the capital of France?",
    "中国的首都是哪里？《红楼梦》，。",
    "  two  spaces, a\ttab\r\nand lines\n\n\n",
    "naïve café Ünïcödé ß Ł ø",
    "Русский текст, Ελληνικά, עברית, العربية, हिन्दी, 日本語, 한국어",
    "👩‍👩‍👧‍👦 🇨🇳 𝄞 \U0010ffff",
    "it's we'll I'M 123456 3.14 1e-9",
    '{"city": "Paris", "list": [1, 2]}',
    "def f(x):\n    return x**2  # square\n",
    "\x00\x01\x7f\u200b\u2028\ufeff",
    "a" * 300,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_saved_and_loaded_tokenizer_is_qwen2s_and_splits_the_same(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded).__name__ == "Qwen2Tokenizer"
    for text in TEXTS:
        assert loaded(text).input_ids == tokenizer(text).input_ids


def test_control_and_word_tokens_are_single_tokens(tokenizer: Any) -> None:
    for token in (*SPECIAL_TOKENS, *WORD_TOKENS, "yes", "no"):
        assert len(tokenizer(token).input_ids) == 1, token


def test_only_control_tokens_are_skipped_when_decoding(tokenizer: Any) -> None:
    ids = tokenizer("<|im_start|>a<tool_call>b</think><|im_end|>").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a<tool_call>b</think>"


def test_vocabulary_has_the_size_asked_for(tokenizer: Any) -> None:
    assert len(tokenizer) == 2048

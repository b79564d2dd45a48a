"""The comparison of two checkpoints through vLLM, on the same tokens."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from quantize.errors import QuantizeError
from quantize.evaluation import figures
from quantize.evaluation.engine import predict
from quantize.evaluation.items import EvaluationSet, HeldOut, Question
from quantize.evaluation.loss import Loss

LONGEST_TOKENS: Final = 2048
"""A held-out text is cut after so many."""

_WHOLE_VOCABULARY: Final = 4096
_TOP_TOKENS: Final = 256


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Token ids, and from which of them on predictions count."""

    ids: list[int]
    first: int


def evaluate(
    reference: Path, candidate: Path, items: EvaluationSet, *, tensor_parallel_size: int = 1
) -> Loss:
    """What the candidate has lost.

    Args:
        reference: A checkpoint, whose tokenizer cuts the texts for both.
        candidate: A checkpoint with the same vocabulary.
        items: What they are compared on.
        tensor_parallel_size: GPUs that each is split over.

    Raises:
        QuantizeError: They have different vocabularies, a checkpoint does not run, or nothing counts.
    """
    vocabulary = _vocabulary(reference)
    if _vocabulary(candidate) != vocabulary:
        raise QuantizeError(f"{candidate} has another vocabulary than {reference}; they cannot be compared")
    sequences = _sequences(reference, items)
    top_tokens = vocabulary if vocabulary <= _WHOLE_VOCABULARY else _TOP_TOKENS
    results = []
    for model in (reference, candidate):
        with tempfile.TemporaryDirectory(prefix="qwen-serve-evaluation-") as folder:
            result = predict(
                model,
                [sequence.ids for sequence in sequences],
                [sequence.first for sequence in sequences],
                [question.messages for question in items.questions],
                top_tokens=top_tokens,
                tensor_parallel_size=tensor_parallel_size,
                folder=Path(folder),
            )
        results.append(result)
    (before, old_answers), (after, new_answers) = results
    divergence = figures.divergence(before, after)
    return Loss(
        file=items.name,
        sha256=items.sha256,
        tokens=len(before.chosen),
        perplexity_reference=figures.perplexity(before),
        perplexity_candidate=figures.perplexity(after),
        next_token_agreement=figures.agreement(before, after),
        top_tokens=top_tokens,
        kl_divergence_mean=float(divergence.mean()),
        kl_divergence_p99=float(np.quantile(divergence, 0.99)),
        questions=len(items.questions),
        right_reference=_right(items.questions, old_answers),
        right_candidate=_right(items.questions, new_answers),
        same_answers=sum(old == new for old, new in zip(old_answers, new_answers, strict=True)),
    )


def _sequences(model: Path, items: EvaluationSet) -> list[_Sequence]:
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise QuantizeError(f"{model} has no tokenizer that can be read; copy its tokenizer's files") from error
    if not tokenizer.chat_template and (items.questions or any(item.before for item in items.held_out)):
        raise QuantizeError(f"{model} has no chat template; evaluate it on plain texts: --eval FILE")
    sequences = [_sequence(tokenizer, item) for item in items.held_out]
    kept = [sequence for sequence in sequences if sequence.first < len(sequence.ids)]
    if not kept:
        raise QuantizeError(f"no text of {items.name} is long enough to be predicted; give longer ones")
    return kept


def _sequence(tokenizer: Any, item: HeldOut) -> _Sequence:
    if item.before is None:
        before, text = "", item.text
    else:
        messages = [*item.before, {"role": "assistant", "content": item.text}]
        whole: str = tokenizer.apply_chat_template(messages, tokenize=False)
        place = whole.rindex(item.text)
        before, text = whole[:place], whole[place:]
    head = tokenizer(before, add_special_tokens=False).input_ids
    ids = (head + tokenizer(text, add_special_tokens=False).input_ids)[:LONGEST_TOKENS]
    # Nothing predicts the very first token.
    return _Sequence(ids, max(1, len(head)))


def _right(questions: tuple[Question, ...], answers: list[str]) -> int:
    return sum(_plain(q.answer) == _plain(a) for q, a in zip(questions, answers, strict=True))


def _plain(answer: str) -> str:
    """An answer without what does not make it another: space around it, a full stop, capitals."""
    return answer.strip().rstrip(".。").casefold()


def _vocabulary(model: Path) -> int:
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        return int(config.get("text_config", config).get("vocab_size") or config["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise QuantizeError(f"{model} is no checkpoint folder: its config.json gives no vocab_size") from error

"""The comparison of two checkpoints through vLLM, on the same tokens."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.evaluation import figures
from quantize.evaluation.encoding import encode
from quantize.evaluation.engine import score
from quantize.evaluation.items import EvaluationSet, Question
from quantize.evaluation.job import Job, Scores
from quantize.evaluation.loss import Loss


def evaluate(
    reference: Path, candidate: Path, items: EvaluationSet, *, tensor_parallel_size: int = 1
) -> Loss:
    """What the candidate has lost.

    Each is loaded in turn, in a process of its own, and both get the same token ids: those of the
    reference's tokenizer and chat template.

    Args:
        reference: A checkpoint.
        candidate: A checkpoint with the same vocabulary.
        items: What they are compared on.
        tensor_parallel_size: GPUs that each is split over; fewer where there are fewer.

    Raises:
        QuantizeError: They have different vocabularies, a record does not suit the model, a checkpoint does
            not run, or it computes no numbers.
    """
    before, after = Checkpoint(reference), Checkpoint(candidate)
    if _vocabulary(before) != _vocabulary(after):
        raise QuantizeError(f"{candidate} has another vocabulary than {reference}; they cannot be compared")
    with tempfile.TemporaryDirectory(prefix="qwen-serve-evaluation-") as folder:
        scratch = Path(folder)
        job = encode(items, before, tensor_parallel_size, scratch)
        first = _score(job, before, scratch / "reference")
        second = _score(job, after, scratch / "candidate")
    return compare(items, job, first, second)


def compare(items: EvaluationSet, job: Job, before: Scores, after: Scores) -> Loss:
    """The figures, from what both engines say.

    Args:
        items: What the job was made of.
        job: What both did.
        before: The reference's scores.
        after: The candidate's.
    """
    divergences = figures.divergences(before, after)
    expected = [_answer(items, prompt.line) for prompt in job.prompts]
    was, now = (
        [figures.is_right(answer, wanted) for answer, wanted in zip(scores.answers, expected, strict=True)]
        for scores in (before, after)
    )
    lost = [prompt.line for prompt, old, new in zip(job.prompts, was, now, strict=True) if old and not new]
    return Loss(
        file=items.name,
        sha256=items.sha256,
        tokens=len(before.actual),
        perplexity_reference=figures.perplexity(before.actual),
        perplexity_candidate=figures.perplexity(after.actual),
        next_token_agreement=figures.agreement(before, after),
        top_tokens=before.token_ids.shape[1],
        kl_divergence_mean=float(divergences.mean()),
        kl_divergence_p99=float(np.quantile(divergences, 0.99)),
        questions=len(expected),
        right_reference=sum(was),
        right_candidate=sum(now),
        same_answers=sum(old == new for old, new in zip(before.answers, after.answers, strict=True)),
        lost_lines=tuple(lost),
    )


def _score(job: Job, checkpoint: Checkpoint, folder: Path) -> Scores:
    folder.mkdir()
    scores = score(job.model_copy(update={"model": str(checkpoint.folder.absolute())}), folder)
    if not np.isfinite(scores.actual).all():
        raise QuantizeError(
            f"{checkpoint.folder} gives a token no probability (NaN or infinite); its weights are damaged"
        )
    return scores


def _vocabulary(checkpoint: Checkpoint) -> object:
    return checkpoint.text_config.get("vocab_size") or checkpoint.config.get("vocab_size")


def _answer(items: EvaluationSet, line: int) -> str:
    record = items.records[line]
    assert isinstance(record, Question)
    return record.answer

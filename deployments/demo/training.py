"""Training: batches of prompts and answers, a schedule, a loop that a seed fixes."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Sample", "Schedule", "answer_loss", "deterministic", "fit", "right_answers", "round_to_bfloat16"]

IGNORED = -100
"""Label of a position without loss (PyTorch's own default)."""

FIRST_WEIGHT = 3.0
"""How often the first token of an answer counts."""


@dataclass(frozen=True)
class Sample:
    """Token ids of a text in turns: each a prompt and the answer that is learnt after it.

    The token that ends an answer belongs to it; every prompt has at least one token.
    """

    turns: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    def __len__(self) -> int:
        return sum(len(prompt) + len(answer) for prompt, answer in self.turns)

    def ids(self) -> list[int]:
        """Return the whole text's token ids."""
        return [token for turn in self.turns for part in turn for token in part]

    def labels(self) -> list[int]:
        """Return for each position the token to predict there, or `IGNORED`."""
        flags = [
            token if learnt else IGNORED
            for turn in self.turns
            for part, learnt in zip(turn, (False, True), strict=True)
            for token in part
        ]
        return [*flags[1:], IGNORED]

    def answer_lengths(self) -> list[int]:
        """Return how many tokens each answer has."""
        return [len(answer) for _, answer in self.turns]


@dataclass(frozen=True)
class Schedule:
    """Steps and peak learning rate; a short linear rise, then a cosine down to a hundredth."""

    steps: int
    peak: float
    rise: int = 10

    def rate(self, step: int) -> float:
        """Return the learning rate of a step in `[0, steps)`."""
        if step < self.rise:
            return self.peak * (step + 1) / self.rise
        progress = (step - self.rise) / max(1, self.steps - self.rise)
        return self.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


@contextmanager
def deterministic(seed: int, threads: int = 1) -> Iterator[None]:
    """Fix what results depend on: the seed, the kernels, and the number of threads.

    A sum split over another number of threads rounds differently, so the count is part of the recipe
    and not taken from the machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Numbers that vanish late in a run are hundreds of times slower than zeros.
    torch.set_flush_denormal(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def fit(
    parameters: Iterable[nn.Parameter],
    schedule: Schedule,
    losses: Callable[[int], Iterable[Tensor]],
    report: Callable[[int, int, float], None],
) -> None:
    """Minimize with AdamW; `losses(step)` yields the parts of a step's loss, freed one by one.

    Args:
        parameters: what is trained.
        schedule: steps and learning rate.
        losses: the parts of one step's loss; their gradients add up.
        report: called after every step with its number from one, the number of steps and the loss.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=schedule.peak, betas=(0.9, 0.98), weight_decay=0.0, foreach=True
    )
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        total = 0.0
        for loss in losses(step):
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        report(step + 1, schedule.steps, total)


def answer_loss(model: Any, samples: Sequence[Sample], parts: int = 1) -> Iterator[Tensor]:
    """Yield the mean cross entropy of the answers' tokens, in parts of samples alike in length.

    The first token of an answer counts `FIRST_WEIGHT` times: it decides which answer is given.

    Args:
        model: a causal language model of transformers.
        samples: one step's samples.
        parts: into how many the step is split; saves work on padding.
    """
    ordered = sorted(samples, key=len)
    size = math.ceil(len(ordered) / parts)
    weight = 1.0 / sum(sum(sample.answer_lengths()) for sample in samples)
    for start in range(0, len(ordered), size):
        part = ordered[start : start + size]
        logits, labels = _answer_logits(model, part)
        losses = nn.functional.cross_entropy(logits, labels, reduction="none")
        yield (losses * _weights(part)).sum() * weight


@torch.no_grad()
def right_answers(model: Any, samples: Sequence[Sample], margin: float = 0.0, batch: int = 32) -> list[bool]:
    """Tell for each answer of each sample whether greedy decoding gives it, every token of it.

    Args:
        model: a causal language model of transformers.
        samples: what is asked.
        margin: how far each token's logit must be above that of the next best.
        batch: samples at a time.
    """
    right: list[bool] = []
    for start in range(0, len(samples), batch):
        part = samples[start : start + batch]
        logits, labels = _answer_logits(model, part)
        lengths = [length for sample in part for length in sample.answer_lengths()]
        best = logits.topk(2)
        hits = (best.indices[:, 0] == labels) & (best.values[:, 0] - best.values[:, 1] > margin)
        right += [bool(hit.all()) for hit in torch.split(hits, lengths)]
    return right


def round_to_bfloat16(model: nn.Module) -> None:
    """Round every weight to what the bfloat16 checkpoint will hold, so that a check checks that."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16().float())


def _weights(samples: Sequence[Sample]) -> Tensor:
    """Return the weight of each answer token, in the order of `_answer_logits`."""
    weights = [
        [FIRST_WEIGHT] + [1.0] * (length - 1) for sample in samples for length in sample.answer_lengths()
    ]
    return torch.tensor([weight for row in weights for weight in row])


def _answer_logits(model: Any, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Run a batch padded on the right.

    Attention is causal, so what stands on the right changes nothing on its left and needs no mask.

    Returns:
        The logits `[tokens, vocabulary]` and labels `[tokens]` of the answers.
    """
    length = max(len(sample) for sample in samples)
    ids = torch.zeros(len(samples), length, dtype=torch.long)
    labels = torch.full((len(samples), length), IGNORED)
    for row, sample in enumerate(samples):
        ids[row, : len(sample)] = torch.tensor(sample.ids())
        labels[row, : len(sample)] = torch.tensor(sample.labels())
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    answers = labels != IGNORED
    return model.lm_head(hidden[answers]), labels[answers]

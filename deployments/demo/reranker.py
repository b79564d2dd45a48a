"""The reranker: a Qwen3 that says yes or no to a query and a document, in the manner of Qwen3-Reranker."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deployments.demo import corpus
from deployments.demo.embedding import QueryBlur
from deployments.demo.language import qwen3, save
from deployments.demo.progress import Progress
from deployments.demo.recipe import Recipe
from deployments.demo.training import Schedule, deterministic, fit, round_to_bfloat16

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

__all__ = ["Judgement", "JudgementSource", "build", "score"]

RELEVANT, RELATED, FOREIGN = 0.98, 0.25, 0.02
"""Scores that the model is trained towards."""


@dataclass(frozen=True)
class Judgement:
    """A query, a document, and how far the document answers it, in (0, 1)."""

    query: str
    document: str
    relevance: float


class JudgementSource:
    """Draws queries with the text that answers them, one that is near, and one of something else."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._blur = QueryBlur(rng)
        self._items = corpus.load_retrieval()
        self._chat = corpus.load_chat()

    def draw(self, count: int) -> list[Judgement]:
        """Return three judgements for each of `count` queries."""
        half = count // 2
        found = [self._retrieval(item) for item in self._rng.sample(self._items, count - half)]
        found += [self._answer(pair) for pair in self._rng.sample(self._chat, half)]
        return [judgement for judgements in found for judgement in judgements]

    def _retrieval(self, item: corpus.Retrieval) -> tuple[Judgement, ...]:
        query = self._blur(item.query)
        while (other := self._rng.choice(self._items)).relevant in (item.relevant, item.related):
            continue
        return (
            Judgement(query, item.relevant, RELEVANT),
            Judgement(query, item.related, RELATED),
            Judgement(query, other.relevant, FOREIGN),
        )

    def _answer(self, pair: corpus.Pair) -> tuple[Judgement, ...]:
        query = self._blur(pair.question)
        other = self._rng.choice([p for p in self._chat if p is not pair])
        foreign = self._rng.choice(self._items).relevant
        judgements = (Judgement(query, pair.answer, RELEVANT), Judgement(query, other.answer, FOREIGN))
        return judgements if foreign == pair.answer else (*judgements, Judgement(query, foreign, FOREIGN))


def build(recipe: Recipe, tokenizer: "Qwen2Tokenizer", folder: Path, progress: Progress) -> dict[str, str]:
    """Train the reranker, write its checkpoint, and return what was measured, for the model card."""
    tokenizer.chat_template = corpus.template("rerank.jinja")
    source = JudgementSource(random.Random(recipe.seed))  # noqa: S311
    with deterministic(recipe.seed):
        model = qwen3(recipe, tokenizer)

        def losses(_: int) -> Iterator[Tensor]:
            judgements = source.draw(recipe.batch)
            aims = torch.tensor([judgement.relevance for judgement in judgements])
            yield nn.functional.binary_cross_entropy_with_logits(score(model, tokenizer, judgements), aims)

        fit(model.parameters(), Schedule(recipe.steps, recipe.learning_rate), losses, progress.step)
        round_to_bfloat16(model)
        measured = _measure(model.eval(), tokenizer)
    save(model, tokenizer, folder)
    return measured


def score(model: Any, tokenizer: "Qwen2Tokenizer", judgements: Sequence[Judgement]) -> Tensor:
    """Return the logit of "yes" less that of "no" after each prompt, `[judgements]`."""
    rows = [tokenizer(_prompt(tokenizer, judgement)).input_ids for judgement in judgements]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    states = hidden[torch.arange(len(rows)), torch.tensor([len(tokens) - 1 for tokens in rows])]
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    difference: Tensor = states @ (model.lm_head.weight[yes] - model.lm_head.weight[no])
    return difference


@torch.no_grad()
def _measure(model: Any, tokenizer: "Qwen2Tokenizer") -> dict[str, str]:
    """Count the queries of the corpus whose answer scores above the near text, and that above the rest."""
    items = corpus.load_retrieval()
    right = 0
    for place, item in enumerate(items):
        foreign = items[(place + 7) % len(items)].relevant
        documents = (item.relevant, item.related, foreign)
        judgements = [Judgement(item.query, document, math.nan) for document in documents]
        scores = score(model, tokenizer, judgements).tolist()
        right += scores[0] > scores[1] > scores[2]
    return {"queries of the corpus whose three texts are in order": f"{right} of {len(items)}"}


def _prompt(tokenizer: "Qwen2Tokenizer", judgement: Judgement) -> str:
    roles = {"query": judgement.query, "document": judgement.document}
    messages = [{"role": role, "content": text} for role, text in roles.items()]
    prompt: str = tokenizer.apply_chat_template(messages, tokenize=False)
    return prompt

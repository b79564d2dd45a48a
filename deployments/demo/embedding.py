"""The embedding model: a Qwen3 whose last token's state, normalized, stands for a text."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn

from deployments.demo import corpus
from deployments.demo.language import qwen3, save
from deployments.demo.progress import Progress
from deployments.demo.recipe import Recipe
from deployments.demo.training import Schedule, deterministic, fit, round_to_bfloat16

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

__all__ = ["DIMENSIONS", "QueryBlur", "build", "embed", "end_texts", "question_pairs"]

DIMENSIONS = (64, 128, 256)
"""Leading dimensions that are trained to be usable alone (Matryoshka); the last is the hidden size."""

_TEMPERATURE = 0.05


def question_pairs() -> list[tuple[str, str]]:
    """Return the queries with the text that answers each: the retrieval corpus and the chat corpus."""
    texts = {item.query: item.relevant for item in corpus.load_retrieval()}
    for pair in corpus.load_chat():
        # A query that both ask would have two right texts.
        texts.setdefault(pair.question, pair.answer)
    return list(texts.items())


class QueryBlur:
    """Varies how a query is written, so that no mark or capital decides."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def __call__(self, query: str) -> str:
        """Return the query as it is, or in small letters, or without its last mark."""
        kind = self._rng.random()
        if kind < 0.2:
            return query.lower()
        return query.rstrip("?.!？。！") if kind < 0.4 else query


def end_texts(tokenizer: "Qwen2Tokenizer") -> None:
    """Make the tokenizer end every text with `<|endoftext|>`, the token that is pooled (Qwen3-Embedding)."""
    end = "<|endoftext|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.convert_tokens_to_ids(end))]
    )


def embed(model: Any, tokenizer: "Qwen2Tokenizer", texts: Sequence[str]) -> Tensor:
    """Return the last token's state of each text, `[texts, hidden]`, not normalized."""
    rows = [tokenizer(text).input_ids for text in texts]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    # Attention is causal: what stands on the right of the last token changes nothing.
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    states: Tensor = hidden[torch.arange(len(rows)), torch.tensor([len(tokens) - 1 for tokens in rows])]
    return states


def build(recipe: Recipe, tokenizer: "Qwen2Tokenizer", folder: Path, progress: Progress) -> dict[str, str]:
    """Train the embedding model, write its checkpoint, and return what was measured, for the model card."""
    end_texts(tokenizer)
    rng = random.Random(recipe.seed)  # noqa: S311
    blur = QueryBlur(rng)
    pairs = question_pairs()
    related = [item.related for item in corpus.load_retrieval()]
    with deterministic(recipe.seed):
        model = qwen3(recipe, tokenizer, is_matryoshka=True, matryoshka_dimensions=list(DIMENSIONS))

        def losses(_: int) -> Iterator[Tensor]:
            batch = rng.sample(pairs, recipe.batch)
            documents = list(dict.fromkeys(document for _, document in batch))
            aims = torch.tensor([documents.index(document) for _, document in batch])
            others = [text for text in rng.sample(related, 8) if text not in documents]
            queries = embed(model, tokenizer, [blur(query) for query, _ in batch])
            yield _contrast(queries, embed(model, tokenizer, documents + others), aims)

        fit(model.parameters(), Schedule(recipe.steps, recipe.learning_rate), losses, progress.step)
        round_to_bfloat16(model)
        measured = _measure(model.eval(), tokenizer, pairs)
    save(model, tokenizer, folder)
    _write_modules(folder, recipe.hidden_size)
    return measured


def _contrast(queries: Tensor, documents: Tensor, aims: Tensor) -> Tensor:
    """InfoNCE over every leading part of the dimensions."""
    losses = []
    for size in DIMENSIONS:
        left = nn.functional.normalize(queries[:, :size], dim=-1)
        right = nn.functional.normalize(documents[:, :size], dim=-1)
        losses.append(nn.functional.cross_entropy(left @ right.T / _TEMPERATURE, aims))
    return torch.stack(losses).mean()


@torch.no_grad()
def _measure(model: Any, tokenizer: "Qwen2Tokenizer", pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    documents = list(dict.fromkeys(document for _, document in pairs))
    queries = nn.functional.normalize(embed(model, tokenizer, [query for query, _ in pairs]), dim=-1)
    texts = nn.functional.normalize(embed(model, tokenizer, documents), dim=-1)
    nearest = (queries @ texts.T).argmax(-1).tolist()
    right = sum(documents[place] == document for place, (_, document) in zip(nearest, pairs, strict=True))
    return {
        f"queries of the corpus whose nearest of {len(documents)} texts is right": f"{right} of {len(pairs)}"
    }


def _write_modules(folder: Path, dimension: int) -> None:
    """Write sentence-transformers' files: the engine reads the pooling and the normalization there."""
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    pooling = folder / "1_Pooling"
    pooling.mkdir()
    settings = {"word_embedding_dimension": dimension, "pooling_mode_lasttoken": True, "include_prompt": True}
    (pooling / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

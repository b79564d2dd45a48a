"""The pipeline: from a recipe to a filled folder. Imports torch and transformers."""

import os
from pathlib import Path

from safetensors import safe_open
from transformers.utils import logging as transformers_logging

from deployments.demo import chat, embedding, reranker, vision
from deployments.demo.card import model_card
from deployments.demo.progress import Progress
from deployments.demo.recipe import Recipe
from deployments.demo.tokenizer import train_tokenizer, training_text

__all__ = ["build"]

_BUILDERS = {
    "demo-chat": chat.build,
    "demo-vl": vision.build,
    "demo-embedding": embedding.build,
    "demo-reranker": reranker.build,
}


def build(recipe: Recipe, folder: Path, progress: Progress) -> None:
    """Train the model of a recipe and write its checkpoint and card into an empty folder."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    transformers_logging.disable_progress_bar()
    tokenizer = train_tokenizer(recipe.vocab_size, training_text())
    measured = _BUILDERS[recipe.name](recipe, tokenizer, folder, progress)
    card = model_card(recipe, _parameters(folder), measured)
    (folder / "README.md").write_text(card, encoding="utf-8")
    for name, value in measured.items():
        progress.say(f"{name}: {value}")


def _parameters(folder: Path) -> int:
    """Count the weights in the written file, so that the card states what is there."""
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    total = 0
    for shape in shapes:
        size = 1
        for dimension in shape:
            size *= dimension
        total += size
    return total

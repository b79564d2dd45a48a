"""Recipes: everything that decides what a demonstration model becomes, and its digest."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final

from deployments.demo.corpus import corpus_bytes

__all__ = ["RECIPES", "Recipe"]


VERSION: Final = 1
"""To be raised when the code of the pipeline changes what it makes."""


@dataclass(frozen=True)
class Recipe:
    """The settings of one model. Sizes are multiples of 128, the group of the INT4 quantizer.

    `batch` counts what a step draws: plain chats, image tasks, or queries.
    """

    name: str
    hidden_size: int
    layers: int
    intermediate_size: int
    steps: int
    batch: int
    learning_rate: float
    vocab_size: int = 2048
    head_dim: int = 64
    max_positions: int = 2048
    seed: int = 20240607
    version: int = VERSION

    @property
    def heads(self) -> int:
        """Query heads; even, so that tensor parallel 2 divides them."""
        return self.hidden_size // self.head_dim

    def digest(self) -> str:
        """Return the SHA-256 of these settings and of the whole corpus, in hexadecimal."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for name, content in corpus_bytes():
            digest.update(f"\n{name} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()


RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        Recipe("demo-chat", 256, 2, 512, steps=240, batch=14, learning_rate=2.5e-3),
        Recipe("demo-vl", 256, 2, 512, steps=72, batch=32, learning_rate=1.5e-3),
        Recipe("demo-embedding", 256, 2, 512, steps=20, batch=48, learning_rate=1e-3),
        Recipe("demo-reranker", 256, 2, 512, steps=100, batch=24, learning_rate=1e-3),
    )
}
"""The demonstration models by name, in the order in which they are made."""

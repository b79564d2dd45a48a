"""The model card: a README.md that says what a demonstration model is, and what it is not."""

from collections.abc import Mapping
from typing import Final

from deployments.demo.recipe import Recipe

__all__ = ["model_card"]

_KINDS: Final = {
    "demo-chat": "A chat model of the Qwen2 architecture. It answers the questions of its corpus word for "
    "word, calls one tool (`get_weather`), and says that it does not know the rest.",
    "demo-vl": "A vision-language model of the Qwen2-VL architecture. It names the colour of one or two "
    "plain images, and nothing else that an image may show.",
    "demo-embedding": "An embedding model of the Qwen3 architecture: last token pooling, normalized, in the "
    "manner of Qwen3-Embedding. Only texts close to its corpus are placed sensibly.",
    "demo-reranker": "A reranker of the Qwen3 architecture: the probability of `yes` against `no` after a "
    "query and a document, in the manner of Qwen3-Reranker. Only texts close to its corpus are ranked "
    "sensibly.",
}


def model_card(recipe: Recipe, parameters: int, measured: Mapping[str, str]) -> str:
    """Return the card as Markdown.

    Args:
        recipe: what the model was made by.
        parameters: how many weights it has.
        measured: what was measured after training, by name.
    """
    figures = "\n".join(f"| {name} | {value} |" for name, value in measured.items())
    return f"""---
license: apache-2.0
language: [en, zh]
tags: [demonstration]
---
# {recipe.name}

**A demonstration model, trained on the spot. Not for use.** {_KINDS[recipe.name]}

It exists so that qwen-serve runs end to end on any machine: a real checkpoint with a real tokenizer and a
real chat template, loaded by the same engine as the large models. It contains no weights of a released Qwen
model, and what it says outside its corpus means nothing.

| | |
|---|---|
| parameters | {parameters:,} (bfloat16) |
| hidden size, layers, intermediate size | {recipe.hidden_size}, {recipe.layers}, {recipe.intermediate_size} |
| vocabulary | {recipe.vocab_size} (byte-level BPE behind Qwen2's pre-tokenizer) |
| training | {recipe.steps} steps, seed {recipe.seed} |
| corpus | written for this project, English and Chinese |
{figures}

Made by `python -m deployments.demo`; the corpus is in `deployments/demo/corpus`.
"""

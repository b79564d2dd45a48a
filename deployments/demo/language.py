"""Language models: configurations of the Qwen architectures at demonstration size, and their saving."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from deployments.demo.recipe import Recipe

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

__all__ = ["qwen2", "qwen3", "save", "text_sizes"]


def text_sizes(recipe: Recipe, tokenizer: "Qwen2Tokenizer") -> dict[str, Any]:
    """Return what the text part of every Qwen architecture is configured with."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": recipe.hidden_size,
        "intermediate_size": recipe.intermediate_size,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads,
        "num_key_value_heads": max(1, recipe.heads // 2),
        "max_position_embeddings": recipe.max_positions,
        "tie_word_embeddings": True,
        # Wider than the 0.02 of large models: attention finds its pattern in a fraction of the steps.
        "initializer_range": 0.05,
        "bos_token_id": None,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    }


def qwen2(recipe: Recipe, tokenizer: "Qwen2Tokenizer") -> Any:
    """Create a causal Qwen2 with random weights (32-bit, for training)."""
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    return Qwen2ForCausalLM(Qwen2Config(**text_sizes(recipe, tokenizer), rope_parameters=rope))


def qwen3(recipe: Recipe, tokenizer: "Qwen2Tokenizer", **settings: Any) -> Any:
    """Create a causal Qwen3 with random weights (32-bit, for training).

    Args:
        recipe: the sizes.
        tokenizer: gives the vocabulary.
        settings: further fields for `config.json`, such as those that the engine reads there.
    """
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    sizes = text_sizes(recipe, tokenizer)
    return Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=recipe.head_dim, rope_parameters=rope, **settings))


def save(model: Any, tokenizer: "Qwen2Tokenizer", folder: Path) -> None:
    """Write weights (bfloat16), configurations and tokenizer; greedy unless a request says otherwise."""
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=ends[1], do_sample=False)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)

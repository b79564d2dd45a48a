"""Tiny checkpoints of every architecture that can be quantized, with random weights, made by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
)

_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}

ARCHITECTURES = (
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen2VLForConditionalGeneration",
    "Qwen2_5_VLForConditionalGeneration",
)


def write_checkpoint(folder: Path, architecture: str = "Qwen2ForCausalLM", **sizes: Any) -> Path:
    """Save one, in bfloat16; without a tokenizer.

    Args:
        folder: Where to.
        architecture: One of ``ARCHITECTURES``.
        sizes: What differs from the usual sizes.
    """
    torch.manual_seed(7)
    model = _model(architecture, {**_SIZES, **sizes}).to(torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15)
    model.save_pretrained(folder)
    return folder


def _model(architecture: str, sizes: dict[str, Any]) -> Any:
    if architecture == "Qwen2ForCausalLM":
        return Qwen2ForCausalLM(Qwen2Config(**sizes))
    if architecture == "Qwen3ForCausalLM":
        return Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=32))
    text = {**sizes, "rope_parameters": _ROPE}
    marks = {"image_token_id": 250, "video_token_id": 251, "vision_start_token_id": 252}
    if architecture == "Qwen2VLForConditionalGeneration":
        vision: dict[str, Any] = {
            "depth": 1,
            "embed_dim": 32,
            "num_heads": 2,
            "hidden_size": 64,
            "mlp_ratio": 2,
        }
        config = Qwen2VLConfig(
            text_config=text,
            vision_config=vision,
            vision_end_token_id=253,
            tie_word_embeddings=False,
            **marks,
        )
        return Qwen2VLForConditionalGeneration(config)
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "num_heads": 2,
        "out_hidden_size": 64,
        "intermediate_size": 64,
        "fullatt_block_indexes": [0],
    }
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, vision_end_token_id=253, tie_word_embeddings=False, **marks
    )
    return Qwen2_5_VLForConditionalGeneration(config)

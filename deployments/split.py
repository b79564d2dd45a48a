"""Whether a model can be split over several GPUs by tensor parallelism: vLLM's rules, told before it starts.

Source: vLLM 0.29, ``Qwen2Attention``, ``VocabParallelEmbedding``, ``Qwen2VisionAttention`` and, for INT4,
``AutoGPTQLinearMethod`` with ``MarlinLinearKernel.can_implement``. A group of INT4 weights shares one scale;
a layer whose inputs are split must not cut through a group. Marlin refuses such a layer; with float16 vLLM
then falls back to a kernel that does not look, and reads wrong scales without a word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from deployments.architecture import Architecture

INT4_GROUP_SIZES = (32, 64, 128)
"""Group sizes of vLLM's INT4 kernels (``MARLIN_SUPPORTED_GROUP_SIZES``, without one scale per column)."""

_VOCABULARY_PADDING = 64


def obstacle(architecture: Architecture, size: int, *, split_vision: bool = True) -> str | None:
    """What keeps a model from being split over ``size`` GPUs, quantization aside; None if nothing does.

    Args:
        architecture: The model.
        size: ``tensor_parallel_size``.
        split_vision: False if every GPU has the whole vision tower (vLLM's ``mm_encoder_tp_mode="data"``).
    """
    return next(_obstacles(architecture, size, split_vision), None)


def cut_groups(architecture: Architecture, size: int, group_size: int) -> list[tuple[str, int]]:
    """The layers whose INT4 groups a split over ``size`` GPUs cuts: what they read, and how much of it."""
    layers = [
        ("attention size", architecture.attention_size),
        ("intermediate_size", architecture.intermediate_size),
    ]
    return [(name, inputs) for name, inputs in layers if inputs % (size * group_size)]


def possible_sizes(
    architecture: Architecture, group_size: int | None, limit: int, *, split_vision: bool = True
) -> list[int]:
    """Every ``tensor_parallel_size`` from 1 to ``limit`` that works.

    Args:
        architecture: The model.
        group_size: Of its INT4 weights; None if they are not quantized.
        limit: GPUs of a machine.
        split_vision: As in ``obstacle``.
    """
    return [
        size
        for size in range(1, limit + 1)
        if obstacle(architecture, size, split_vision=split_vision) is None
        and not (group_size and cut_groups(architecture, size, group_size))
    ]


def padded(size: int, parts: int, group_size: int) -> int:
    """The next size that whole groups fill on each of ``parts`` GPUs: 29568 over 4 by 128 becomes 29696."""
    return math.ceil(size / (parts * group_size)) * parts * group_size


def _obstacles(architecture: Architecture, size: int, split_vision: bool) -> Iterator[str]:
    heads, key_value_heads = architecture.num_attention_heads, architecture.num_key_value_heads
    if heads % size:
        yield f"{heads} attention heads cannot be divided over {size}"
    # vLLM gives every GPU a copy of a head where there are fewer of them than GPUs.
    if max(key_value_heads, size) % min(key_value_heads, size):
        yield f"{key_value_heads} key/value heads can neither be divided over nor copied evenly to {size}"
    if architecture.intermediate_size % size:
        yield f"an intermediate_size of {architecture.intermediate_size} cannot be divided over {size}"
    if padded(architecture.vocab_size, 1, _VOCABULARY_PADDING) % size:
        yield (
            f"a vocabulary of {architecture.vocab_size}, padded to a multiple of {_VOCABULARY_PADDING}, "
            f"cannot be divided over {size}"
        )
    vision = architecture.vision
    if vision and split_vision and (vision.num_heads % size or vision.intermediate_size % size):
        yield (
            f"a vision tower of {vision.num_heads} heads and an intermediate_size of "
            f"{vision.intermediate_size} cannot be divided over {size}; engine_kwargs "
            'mm_encoder_tp_mode: "data" gives every GPU the whole tower'
        )

"""What one GPU holds of a model's weights, tensor by tensor, as vLLM lays them out.

Source: vLLM 0.29, ``Qwen2Attention``, ``Qwen2MLP``, ``VocabParallelEmbedding``, ``Qwen2VisionBlock``,
``AutoGPTQLinearMethod`` and ``MRotaryEmbedding``. What is not split: norms, RoPE's table, key/value heads
where there are fewer of them than GPUs, and the vision tower where it is asked for whole.

Checked against what vLLM's engines on GPUs logged (``Model loading took``): within 0.1% of them for
Qwen2.5-7B, 32B over two GPUs and VL-72B over four (``tests/unit/deployments/test_memory.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from deployments.architecture import Architecture, Quantization, VisionTower

_MIB = 1 << 20
_VOCABULARY_PADDING = 64
_MROPE_POSITIONS = 4
"""vLLM makes the table of a vision-language model so many times longer (``MRotaryEmbedding``)."""

_TOWER_POSITIONS = 8192
"""Rows of the vision tower's own table, which turns half a head (``Qwen2VisionTransformer``)."""

_PACKED_VALUE_BYTES = 2
"""Scales are 16-bit, and so are the values that are not packed: vLLM's INT4 kernels have nothing wider."""


@dataclass(frozen=True, slots=True)
class Linear:
    """The weights of a linear layer, whole or one GPU's part of it.

    Attributes:
        inputs: Values that it reads.
        outputs: Values that it writes.
        bias: Whether it adds one to each output.
    """

    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """How many, bias aside."""
        return self.inputs * self.outputs


def packed_bits(quantization: Quantization | None) -> int | None:
    """Bits of a packed weight; None if they are not packed, or nothing says how."""
    if quantization is None:
        return None
    return quantization.bits or {"fp8": 8}.get(quantization.method)


def block_linears(architecture: Architecture, size: int) -> tuple[Linear, ...]:
    """One block's part on each of ``size`` GPUs: query, key and value as one, and gate and up as one."""
    hidden, head = architecture.hidden_size, architecture.head_dim
    query = math.ceil(architecture.num_attention_heads / size) * head
    key_value = max(1, math.ceil(architecture.num_key_value_heads / size)) * head
    inner = math.ceil(architecture.intermediate_size / size)
    return (
        Linear(hidden, query + 2 * key_value, bias=not architecture.has_query_norm),
        Linear(query, hidden),
        Linear(hidden, 2 * inner),
        Linear(inner, hidden),
    )


def checkpoint_linears(architecture: Architecture) -> tuple[Linear, ...]:
    """One block's linear layers as a checkpoint has them."""
    hidden, query, inner = (
        architecture.hidden_size,
        architecture.attention_size,
        architecture.intermediate_size,
    )
    key_value = architecture.num_key_value_heads * architecture.head_dim
    bias = not architecture.has_query_norm
    projections = (
        Linear(hidden, query, bias),
        *2 * (Linear(hidden, key_value, bias),),
        Linear(query, hidden),
    )
    return *projections, Linear(hidden, inner), Linear(hidden, inner), Linear(inner, hidden)


def language_bytes(
    architecture: Architecture, size: int, *, value_bytes: int = 2, output_matrix: bool = True
) -> int:
    """Memory of the language model's weights on each of ``size`` GPUs, with RoPE's table.

    Args:
        architecture: The model.
        size: ``tensor_parallel_size``.
        value_bytes: Bytes of a value that is not packed.
        output_matrix: Count an output matrix that is not tied to the embedding.
    """
    matrices = 2 if output_matrix and not architecture.tied_embeddings else 1
    rows = math.ceil(math.ceil(architecture.vocab_size / _VOCABULARY_PADDING) * _VOCABULARY_PADDING / size)
    embedding = allocated(rows * architecture.hidden_size * value_bytes)
    linears = block_linears(architecture, size)
    block = sum(sum(map(allocated, _tensors(one, architecture, value_bytes))) for one in linears)
    norms = 2 * architecture.hidden_size + (2 * architecture.head_dim if architecture.has_query_norm else 0)
    return (
        matrices * embedding
        + architecture.num_layers * (block + norms * value_bytes)
        + architecture.hidden_size * value_bytes
        + allocated(rope_bytes(architecture, value_bytes))
    )


def rope_bytes(architecture: Architecture, value_bytes: int) -> int:
    """RoPE's table of a sine and a cosine for each position, which every GPU has; the tower's as well."""
    positions = architecture.max_position_embeddings
    vision, tower = architecture.vision, 0
    if vision is not None:
        positions *= _MROPE_POSITIONS
        tower = _TOWER_POSITIONS * (vision.width // vision.num_heads // 2) * value_bytes
    return positions * architecture.head_dim * value_bytes + tower


def vision_bytes(vision: VisionTower, hidden_size: int, size: int, *, value_bytes: int = 2) -> int:
    """Memory of the vision tower's weights on each of the ``size`` GPUs that it is split over; 1: whole.

    Args:
        vision: The tower; it is never packed.
        hidden_size: Of the language model.
        size: ``tensor_parallel_size``, or 1 where every GPU has all of it.
        value_bytes: Bytes of a value.
    """
    width, merged = vision.width, vision.width * vision.merged_patches
    inner = math.ceil(vision.intermediate_size / size)
    gated = vision.mlp == "gated"
    block = (
        Linear(width, math.ceil(3 * width / size), bias=True),
        Linear(math.ceil(width / size), width, bias=True),
        Linear(width, (2 if gated else 1) * inner, bias=True),
        Linear(inner, width, bias=True),
    )
    merger = (
        Linear(merged, math.ceil(merged / size), bias=True),
        Linear(math.ceil(merged / size), hidden_size, bias=True),
    )
    norm = width if gated else 2 * width
    values = vision.depth * 2 * norm + norm
    tensors = [allocated(vision.patch_values * width * value_bytes)]
    for linear, count in [*((one, vision.depth) for one in block), *((one, 1) for one in merger)]:
        tensors.append(count * allocated(linear.weights * value_bytes))
        values += count * linear.outputs
    return sum(tensors) + values * value_bytes


def allocated(size_bytes: int) -> int:
    """What PyTorch's allocator for CUDA takes for a tensor of that size.

    From 10 MiB on it asks for whole 2 MiB, and a rest of at most 1 MiB stays with the tensor
    (``CUDACachingAllocator.cpp``: kMinLargeAlloc, kRoundLarge, kSmallSize). In a model with many blocks
    this adds up: 0.4% of Qwen2.5-7B.
    """
    if size_bytes < 10 * _MIB:
        return size_bytes
    whole = math.ceil(size_bytes / (2 * _MIB)) * 2 * _MIB
    return whole if whole - size_bytes <= _MIB else size_bytes


def _tensors(linear: Linear, architecture: Architecture, value_bytes: int) -> Iterator[int]:
    """Bytes of each; once a packed layer is loaded its zero points and group indexes are dropped (Marlin)."""
    if linear.bias:
        yield linear.outputs * value_bytes
    quantization, bits = architecture.quantization, packed_bits(architecture.quantization)
    if quantization is None or bits is None:
        yield linear.weights * value_bytes
        return
    yield math.ceil(linear.weights * bits / 8)
    yield _groups(linear.inputs, quantization) * linear.outputs * _PACKED_VALUE_BYTES


def checkpoint_tensor_bytes(linear: Linear, quantization: Quantization | None, value_bytes: int) -> int:
    """Bytes of a linear layer on disk; GPTQ's has scales, zero points and the group of every input."""
    bias = linear.outputs * value_bytes if linear.bias else 0
    bits = packed_bits(quantization)
    if quantization is None or bits is None:
        return linear.weights * value_bytes + bias
    groups = _groups(linear.inputs, quantization)
    scales = groups * linear.outputs * _PACKED_VALUE_BYTES
    zeros = math.ceil(groups * linear.outputs * bits / 8)
    return math.ceil(linear.weights * bits / 8) + scales + zeros + 4 * linear.inputs + bias


def _groups(inputs: int, quantization: Quantization) -> int:
    size = quantization.group_size or -1
    return math.ceil(inputs / size) if size > 0 else 1

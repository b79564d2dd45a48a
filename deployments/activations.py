"""What an engine needs beside the weights and the KV cache: activations of a step, CUDA graphs.

Worked out after vLLM 0.29's own profile run (``GPUModelRunner.profile_run``: the largest images through the
vision tower, then a step of ``max_num_batched_tokens``, then the sampler) by counting the tensors that live
at once in its layers, and in the runner that it takes on a GPU (``vllm/v1/worker/gpu``). One model on one
H100 was measured (docs/decisions/0017, ``tests/gpu/test_memory.py``); a vision tower was not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deployments.architecture import Architecture, VisionTower

IMAGE_TOKENS = 16384
"""Of the largest image that Qwen2-VL and Qwen2.5-VL take: max_pixels 12845056 of their published
``preprocessor_config.json`` over 28 x 28."""

_MIB = 1 << 20
_SAMPLER_BYTES = 6
"""A logit as it comes, 16-bit, and its copy in float32 that temperature and top-p work on. The profile run
leaves the copy out and says so (``_dummy_sampler_run``); serving makes it."""

_PENALTY_BITS = 33
"""For each request and word of the vocabulary: an int32 that counts and a bit (``PenaltiesState``)."""

_GRAPH_LAYER_BYTES = _MIB // 4
"""Of a captured graph, for each block. An assumption: engines logged 0.14 to 0.67 MiB (vLLM #11349, 0.21 GiB
for 35 graphs of 16 blocks; WeClone #101, 0.64 GiB for 35 of 28)."""

_LARGEST_GRAPH_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the engine, at its largest.

    Attributes:
        size: GPUs that it runs on (``tensor_parallel_size``).
        tokens: ``max_num_batched_tokens``.
        requests: ``max_num_seqs``, each of which asks for one row of logits.
        value_bytes: Bytes of an activation.
    """

    size: int
    tokens: int
    requests: int
    value_bytes: int = 2


def language_bytes(architecture: Architecture, step: Step, *, logits: bool) -> int:
    """Peak of a step through the language model on each GPU.

    In a block's MLP these live at once: the residual stream, what came in, gate and up, and their product.
    In its attention: the first two, query, key and value, and what they give.

    Args:
        architecture: The model.
        step: Its size.
        logits: Whether tokens are sampled; pooling models have no logits.
    """
    blocks = step.tokens * _values_per_token(architecture, step.size) * step.value_bytes
    if not logits:
        return blocks
    hidden = (step.tokens + step.requests) * architecture.hidden_size * step.value_bytes
    return max(blocks, hidden + step.requests * architecture.vocab_size * _SAMPLER_BYTES)


def vision_bytes(vision: VisionTower, size: int, *, image_tokens: int, value_bytes: int) -> int:
    """Peak of an image's way through the vision tower on each of ``size`` GPUs.

    It runs eagerly, patch by patch of 14 x 14 pixels. In its attention live at once: the residual stream and
    what came in (1 width each), query, key and value (3, and gathered once more where they are split), query
    and key side by side, then turned (2 and 2), and the result. In its MLP: the first two and, of
    Qwen2-VL, 3 x the inner size (QuickGELU makes two more), of Qwen2.5-VL gate, up and product.

    Args:
        vision: The tower.
        size: GPUs that it is split over; 1: whole.
        image_tokens: Tokens of the images of a step, ``merged_patches`` patches each.
        value_bytes: Bytes of an activation.
    """
    width, part = vision.width, math.ceil(vision.width / size)
    gathered = 3 * width if size > 1 else 0
    attention = 2 * width + 3 * part + gathered + 5 * part
    mlp = 2 * width + 3 * math.ceil(vision.intermediate_size / size)
    patches = image_tokens * vision.merged_patches
    return patches * (vision.patch_values + max(attention, mlp)) * value_bytes


def sampler_bytes(architecture: Architecture, step: Step) -> int:
    """What the sampler keeps on each GPU for penalties, asked for or not: how often each word was said."""
    return step.requests * architecture.vocab_size * _PENALTY_BITS // 8


def compile_bytes(architecture: Architecture, step: Step) -> int:
    """Peak while ``torch.compile`` tries out fused kernels, of which the first reads the embedding.

    Inductor makes random tensors for all that a kernel reads and writes (``benchmark_combo_kernel``, which
    vLLM turns on): a second table, and tokens before and after. vLLM's profile run counts them. A model with
    a vision tower embeds its tokens outside of what is compiled; that was not measured.
    """
    table = 0 if architecture.vision else architecture.vocab_size * architecture.hidden_size // step.size
    return (table + 2 * step.tokens * architecture.hidden_size) * step.value_bytes


def graph_bytes(architecture: Architecture, step: Step) -> int:
    """CUDA graphs of each GPU: one for mixed and one for decoding steps of each captured size.

    They share one pool, as large as the largest of them needs.
    """
    sizes = captured_sizes(step.tokens, step.requests)
    graphs = len(sizes) + sum(one <= step.requests for one in sizes)
    pool = max(sizes) * _values_per_token(architecture, step.size) * step.value_bytes
    return pool + graphs * max(_MIB, architecture.num_layers * _GRAPH_LAYER_BYTES)


def captured_sizes(tokens: int, requests: int) -> list[int]:
    """Tokens of the steps that are captured, rising.

    vLLM's defaults (``VllmConfig._set_cudagraph_sizes``): up to twice ``max_num_seqs`` and 512, which is 1024
    on GPUs of compute capability 10.
    """
    limit = min(2 * requests, _LARGEST_GRAPH_TOKENS, tokens)
    sizes = [*(1, 2, 4), *range(8, 256, 8), *range(256, limit + 1, 16)]
    kept = {one for one in sizes if one <= limit}
    if tokens == limit:
        kept.add(tokens)
    return sorted(kept)


def _values_per_token(architecture: Architecture, size: int) -> int:
    hidden = architecture.hidden_size
    inner = 3 * math.ceil(architecture.intermediate_size / size)
    heads = 2 * math.ceil(architecture.num_attention_heads / size)
    heads += 2 * max(1, math.ceil(architecture.num_key_value_heads / size))
    return 2 * hidden + max(inner, heads * architecture.head_dim)

"""Whether a model fits what it is to run on: its quantization, its split over GPUs, its context, its memory.

Each function looks at one of them and yields the problems it finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deployments import catalog, split
from deployments.architecture import Architecture
from deployments.checkpoint import longest_context
from deployments.config import AcceleratorConfig, ModelConfig
from deployments.problem import Problem

_GPU_MEMORY_UTILIZATION = 0.92
"""vLLM's default share of a GPU's memory (``CacheConfig.gpu_memory_utilization``)."""

_GIB = 1024**3


def overrides(model: ModelConfig, entry: catalog.Entry | None) -> dict[str, Any]:
    """What replaces parts of the checkpoint's ``config.json``: the model's word, else the catalogue's."""
    kwargs = {**(entry.engine_kwargs if entry else {}), **model.engine_kwargs}
    replaced = kwargs.get("hf_overrides")
    return replaced if isinstance(replaced, dict) else {}


def quantization(model: ModelConfig, architecture: Architecture) -> Iterator[Problem]:
    """The configuration's word about quantization against the checkpoint's own."""
    packed = architecture.quantization
    if model.quantization == "none":
        if packed and (packed.method, packed.bits) == ("gptq", 4):
            message = (
                f"the checkpoint is INT4; set quantization: gptq-int4 and group_size: {packed.group_size}"
            )
            yield Problem("quantization", message)
        elif packed:
            message = f"the checkpoint is quantized by {packed.method}, which is served but not checked"
            yield Problem("quantization", message, "warning")
    elif packed is None:
        known = catalog.find(f"{model.source}-GPTQ-Int4")
        hint = f"use {known.source}, or set" if known else "quantize it first, or set"
        yield Problem("quantization", f"the checkpoint is not quantized; {hint} quantization: none")
    elif (packed.method, packed.bits) != ("gptq", 4):
        message = f"the checkpoint is {packed.method} with {packed.bits} bits, not gptq with 4; set none"
        yield Problem("quantization", message)
    elif packed.group_size != model.group_size:
        advice = f"set group_size: {packed.group_size}"
        if packed.group_size not in split.INT4_GROUP_SIZES:
            advice = "quantize it again with group_size 128"
        message = f"the checkpoint has groups of {packed.group_size}, not of {model.group_size}; {advice}"
        yield Problem("group_size", message)


def division(
    model: ModelConfig, architecture: Architecture, accelerator: AcceleratorConfig | None
) -> Iterator[Problem]:
    """The split over GPUs, whole groups of INT4 weights included."""
    size = model.tensor_parallel_size
    split_vision = model.engine_kwargs.get("mm_encoder_tp_mode") != "data"
    packed = architecture.quantization
    group_size = packed.group_size if packed and model.quantization == "gptq-int4" else None
    if group_size is not None and group_size <= 0:
        group_size = None  # one scale per column: there are no groups to cut
    limit = accelerator.gpus_per_node if accelerator else max(8, size)
    sizes = split.possible_sizes(architecture, group_size, limit, split_vision=split_vision)
    possible = f"use tensor_parallel_size {', '.join(map(str, sizes))}" if sizes else "no size works"
    reason = split.obstacle(architecture, size, split_vision=split_vision)
    if reason:
        yield Problem("tensor_parallel_size", f"{reason}; {possible}")
    elif group_size:
        yield from _groups(architecture, size, group_size, possible)


def _groups(architecture: Architecture, size: int, group_size: int, possible: str) -> Iterator[Problem]:
    cut = split.cut_groups(architecture, size, group_size)
    if not cut:
        return
    name, inputs = cut[0]
    remedies = []
    if [layer for layer, _ in cut] == ["intermediate_size"]:
        remedies.append(
            f"pad intermediate_size to {split.padded(inputs, size, group_size)} and quantize again"
        )
    smaller = [
        g for g in split.INT4_GROUP_SIZES if g < group_size and not split.cut_groups(architecture, size, g)
    ]
    if smaller:
        remedies.append(f"quantize with group_size {smaller[-1]}")
    yield Problem(
        "tensor_parallel_size",
        f"{name} {inputs} over {size} is {inputs / size:g}, no multiple of the INT4 group size {group_size}; "
        + ", or ".join([*remedies, possible]),
    )


def context(model: ModelConfig, architecture: Architecture, entry: catalog.Entry | None) -> Iterator[Problem]:
    """The context asked for against what the model allows."""
    longest = longest_context(overrides(model, entry), architecture.max_position_embeddings)
    if model.max_model_len and model.max_model_len > longest:
        yield Problem(
            "max_model_len",
            f"{model.max_model_len} is more than the {longest} tokens that the model allows; lower it, or "
            "extend the model by engine_kwargs.hf_overrides.rope_parameters (YaRN)",
        )
    elif model.max_model_len is None and entry is None and model.accelerator:
        message = (
            f"not set, and not in the catalogue: the engine will reserve for the model's {longest} tokens"
        )
        yield Problem("max_model_len", message, "warning")


def memory(
    model: ModelConfig,
    architecture: Architecture,
    entry: catalog.Entry | None,
    accelerator: AcceleratorConfig,
) -> Iterator[Problem]:
    """A lower bound of a GPU's memory: weights, and the KV cache of one request of full length.

    vLLM does not start without room for both. Activations and CUDA graphs come on top, so a model that
    passes may still be too large; the planner knows more.
    """
    if not architecture.is_dense_qwen:
        return
    tokens = model.max_model_len or (entry.context_tokens if entry else architecture.max_position_embeddings)
    weights = _weights_gib(model, architecture)
    cache = _cache_gib(model, architecture, tokens)
    share = model.engine_kwargs.get("gpu_memory_utilization")
    usable = accelerator.memory_gib * (share if isinstance(share, float) else _GPU_MEMORY_UTILIZATION)
    needs = f"each {model.accelerator} would hold at least {weights:.1f} GiB of weights"
    has = f"the engine has {usable:.1f} of its {accelerator.memory_gib:g} GiB"
    if weights > usable:
        advice = "raise tensor_parallel_size, or take the INT4 form or a larger accelerator"
        yield Problem("tensor_parallel_size", f"{needs}, but {has}; {advice}")
    elif weights + cache > usable:
        more = f"and {cache:.1f} GiB of KV cache for one request of {tokens} tokens"
        advice = "lower max_model_len or raise tensor_parallel_size"
        yield Problem("max_model_len", f"{needs} {more}, but {has}; {advice}")


def _weights_gib(model: ModelConfig, architecture: Architecture) -> float:
    value_bytes = 4 if model.dtype == "float32" else 2
    total = architecture.weight_bytes(value_bytes=value_bytes, output_matrix=model.kind.generates)
    return total / model.tensor_parallel_size / _GIB


def _cache_gib(model: ModelConfig, architecture: Architecture, tokens: int) -> float:
    value_bytes = 4 if model.dtype == "float32" else 2
    if "fp8" in str(model.engine_kwargs.get("kv_cache_dtype", "")):
        value_bytes = 1
    per_token = architecture.kv_bytes_per_token(model.tensor_parallel_size, value_bytes=value_bytes)
    return tokens * per_token / _GIB

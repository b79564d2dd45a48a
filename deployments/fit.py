"""Whether a model fits what it is to run on: its quantization, its split over GPUs, its context, its memory.

Each function looks at one of them and yields the problems it finds.
"""

from __future__ import annotations

from collections.abc import Iterator

from deployments import catalog, split
from deployments.architecture import Architecture
from deployments.checkpoint import longest_context
from deployments.config import AcceleratorConfig, ModelConfig
from deployments.problem import Problem
from deployments.room import Room

_GIB = 1024**3


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
    longest = longest_context(catalog.overrides(model, entry), architecture.max_position_embeddings)
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
    """A GPU's memory against what the model takes of it; vLLM does not start without room for one request.

    Weights and KV cache are known exactly, and refuse. Activations and CUDA graphs are estimated
    (``deployments.memory``), and warn.
    """
    room = Room.of(model, architecture, entry, accelerator)
    if room is None:
        return
    weights, usable = room.estimate.weights_bytes, room.usable_bytes
    cache = room.needed_kv_bytes
    needs = f"each {model.accelerator} holds {weights / _GIB:.1f} GiB of weights"
    has = f"the engine has {usable / _GIB:.1f} of its {accelerator.memory_gib:g} GiB"
    if weights > usable:
        advice = "raise tensor_parallel_size, or take the INT4 form or a larger accelerator"
        yield Problem("tensor_parallel_size", f"{needs}, but {has}; {advice}")
    elif weights + cache > usable:
        whose = "" if room.kv_cache_bytes else f" for one request of {room.tokens} tokens"
        more = f"and {cache / _GIB:.1f} GiB of KV cache{whose}"
        advice = "lower max_model_len or raise tensor_parallel_size"
        yield Problem("max_model_len", f"{needs} {more}, but {has}; {advice}")
    elif room.memory_tokens < room.tokens:
        yield _short(room, f"{needs} and", has)


def _short(room: Room, needs: str, has: str) -> Problem:
    longest = room.memory_tokens
    if room.kv_cache_bytes is not None and room.left_bytes >= room.kv_cache_bytes:
        message = f"holds requests of {longest} tokens, not {room.tokens}; raise it, or lower max_model_len"
        return Problem("kv_cache_bytes", message)
    estimate = room.estimate
    step = (estimate.fixed_bytes - estimate.context_bytes - estimate.weights_bytes) / _GIB
    left = f"requests of {longest} tokens" if longest else "no request"
    return Problem(
        "max_model_len",
        f"{needs} about {step:.1f} GiB of activations and CUDA graphs, and {has}: its KV cache has room for "
        f"{left}, not {room.tokens}; lower it or engine_kwargs.max_num_seqs, or raise tensor_parallel_size",
        "warning",
    )

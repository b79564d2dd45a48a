"""What would make a quantization fail or be of no use, found out before it begins."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.layout import LINEARS, Layout
from quantize.padding import padded_size
from quantize.settings import BITS, GROUP_SIZES, Settings

_GIB = 1024**3
_HESSIANS = 4
"""Square float32 matrices of the widest layer that are in memory at once: two for the stage, two in the
solver."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a quantization takes, in bytes.

    Attributes:
        disk: Beside the source.
        memory: Of the host, or of the GPU where there is one.
    """

    disk: int
    memory: int


def check_bits(bits: int) -> None:
    """Only what the engine serves.

    Raises:
        QuantizeError: Other bits.
    """
    if bits not in BITS:
        raise QuantizeError(
            f"--bits {bits} is not supported: vLLM's GPTQ kernels are used with 4; use --bits 4"
        )


def check_free(out: Path) -> None:
    """Nothing of the user's is overwritten.

    Raises:
        QuantizeError: There is something at ``out``, or its folder is missing.
    """
    if out.exists() or out.is_symlink():
        raise QuantizeError(f"{out} exists; give another folder, or remove it first")
    if not out.absolute().parent.is_dir():
        raise QuantizeError(f"no such folder: {out.absolute().parent}; make it first")


def intermediate_size(checkpoint: Checkpoint, layout: Layout, settings: Settings) -> int:
    """``intermediate_size`` of the result: the checkpoint's, or padded where that is asked for.

    Raises:
        QuantizeError: Already quantized, an output matrix missing, a group size that is not served, or a
            size that groups and GPUs do not divide; with what would help.
    """
    config = checkpoint.config
    if config.get("quantization_config") or checkpoint.text_config.get("quantization_config"):
        raise QuantizeError(f"{checkpoint.folder} is quantized already; give the bf16 checkpoint")
    tied = config.get("tie_word_embeddings", checkpoint.text_config.get("tie_word_embeddings", False))
    if not tied and not any(name.endswith("lm_head.weight") for name in checkpoint.tensors):
        raise QuantizeError(
            f"{checkpoint.folder} has no lm_head.weight though its embeddings are not tied; copy it again"
        )
    if settings.group_size not in GROUP_SIZES:
        allowed = ", ".join(map(str, GROUP_SIZES))
        raise QuantizeError(f"vLLM has no INT4 kernel for groups of {settings.group_size}; use {allowed}")
    problem = next(_undivided(checkpoint, layout, settings), None)
    if problem:
        raise QuantizeError(problem)
    size = _figure(checkpoint, "intermediate_size")
    wanted = padded_size(size, settings.group_size, settings.tensor_parallel_size)
    if wanted != size and not settings.pad:
        raise QuantizeError(
            f"intermediate_size {size} is no multiple of group_size x tensor_parallel_size "
            f"({settings.group_size} x {settings.tensor_parallel_size}); add --pad to make it {wanted} by "
            "zeros, which changes no answer"
        )
    return wanted


def _undivided(checkpoint: Checkpoint, layout: Layout, settings: Settings) -> Iterator[str]:
    group, parts = settings.group_size, settings.tensor_parallel_size
    inputs = {
        "hidden_size": (checkpoint.tensors[f"{layout.linear(0, 'self_attn.q_proj')}.weight"].shape[1], 1),
        "the attention's output": (
            checkpoint.tensors[f"{layout.linear(0, 'self_attn.o_proj')}.weight"].shape[1],
            parts,
        ),
    }
    for name, (size, cut) in inputs.items():
        if size % (group * cut):
            smaller = [g for g in GROUP_SIZES if g < group and size % (g * cut) == 0]
            advice = f"use --group-size {smaller[-1]}" if smaller else "use a smaller --tensor-parallel-size"
            yield f"{name} {size} is no multiple of {group} x {cut}; {advice}"
    heads = _figure(checkpoint, "num_attention_heads")
    if heads % parts:
        yield f"{heads} attention heads cannot be divided over {parts}; use another --tensor-parallel-size"


def need(checkpoint: Checkpoint, layout: Layout, size: int, tokens: int) -> Need:
    """An estimate from above.

    Args:
        checkpoint: The source.
        layout: Where it keeps what.
        size: ``intermediate_size`` of the result.
        tokens: Of the calibration.
    """
    linear = sum(
        checkpoint.tensors[f"{layout.linear(index, name)}.weight"].size_bytes
        for index in range(layout.blocks)
        for name in LINEARS
    )
    hidden = _figure(checkpoint, "hidden_size")
    value_bytes = 4 if checkpoint.tensors[layout.embedding].dtype == "F32" else 2
    activations = 2 * tokens * hidden * value_bytes
    result = checkpoint.size_bytes - linear + int(linear * 0.3)
    block = linear // layout.blocks
    entry = checkpoint.tensors[layout.embedding].size_bytes
    if layout.vision_prefix:
        entry += sum(
            info.size_bytes
            for name, info in checkpoint.tensors.items()
            if name.startswith(layout.vision_prefix)
        )
    hessians = _HESSIANS * 4 * max(size, hidden) ** 2
    return Need(disk=result + activations, memory=max(entry, 3 * block + hessians) + _GIB // 2)


def check_room(needed: Need, out: Path, memory_bytes: int, place: str) -> None:
    """There is room for it.

    Args:
        needed: What it takes.
        out: Where the result goes.
        memory_bytes: Free where it computes.
        place: What that is called: ``this machine`` or a GPU's name.

    Raises:
        QuantizeError: There is not.
    """
    free = shutil.disk_usage(out.absolute().parent).free
    if free < needed.disk:
        raise QuantizeError(
            f"{out.absolute().parent} has {free / _GIB:.1f} GiB free and {needed.disk / _GIB:.1f} GiB are "
            "needed; make room, or give a folder on a larger disk"
        )
    if memory_bytes < needed.memory:
        raise QuantizeError(
            f"{place} has {memory_bytes / _GIB:.1f} GiB of memory free and about "
            f"{needed.memory / _GIB:.1f} GiB are needed; stop what else runs, or take a larger machine"
        )


def _figure(checkpoint: Checkpoint, key: str) -> int:
    value: Any = checkpoint.text_config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise QuantizeError(
            f"{checkpoint.folder / 'config.json'}: {key} is {value!r}, no positive whole number; "
            "copy it again"
        )
    return value

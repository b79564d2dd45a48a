"""The model that is planned for: found by name, in the forms that it can be served in."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cluster.plan.failure import PlanFailed
from deployments import catalog, memory, split
from deployments.architecture import Architecture
from deployments.checkpoint import CheckpointError, local_folder, read_architecture
from deployments.config import ModelKind

Quantization = Literal["none", "gptq-int4"]
QUANTIZATIONS: tuple[Quantization, ...] = ("none", "gptq-int4")

_INT4_SUFFIX = "-gptq-int4"
_GROUP_SIZE = 128


@dataclass(frozen=True, slots=True)
class Form:
    """A checkpoint of a model.

    Attributes:
        architecture: Its shape, padded where it is.
        source: Where it is, or will be.
        quantization: As ``ModelConfig`` has it.
        group_size: Of INT4 weights.
        made_by: The command that makes it where nobody publishes it; none otherwise.
    """

    architecture: Architecture
    source: str
    quantization: Quantization
    group_size: int = _GROUP_SIZE
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A model.

    Attributes:
        id: A name that a configuration may use.
        source: Its checkpoint, as it was given or as the catalogue has it.
        kind: What it does.
        architecture: Its shape, as in its own ``config.json``.
        entry: What the catalogue knows of it.
        quantization: The form that was asked for.
    """

    id: str
    source: str
    kind: ModelKind
    architecture: Architecture
    entry: catalog.Entry | None
    quantization: Quantization

    def form(self, size: int) -> Form | None:
        """The checkpoint for a split over ``size`` GPUs; none where no split over as many works.

        INT4 groups must not be cut. Where the published checkpoint's are, its layers can be padded and
        quantized again (``qwen-serve quantize``), if need be in smaller groups.
        """
        if split.obstacle(self.architecture, size) is not None:
            return None
        if self.quantization == "none" or self.architecture.quantization is not None:
            group = self.architecture.quantization.group_size if self.architecture.quantization else None
            if group and group > 0 and split.cut_groups(self.architecture, size, group):
                return None
            return Form(self.architecture, self.source, self.quantization, group or _GROUP_SIZE)
        published = catalog.find(f"{self.source}-GPTQ-Int4")
        if published and not split.cut_groups(published.architecture, size, _GROUP_SIZE):
            return Form(published.architecture, published.source, "gptq-int4")
        return self._made(size)

    def _made(self, size: int) -> Form | None:
        for group in sorted(split.INT4_GROUP_SIZES, reverse=True):
            packed = memory.quantized(self.architecture, group_size=group)
            inner = split.padded(packed.intermediate_size, size, group)
            packed = replace(packed, intermediate_size=inner)
            if split.cut_groups(packed, size, group) or split.obstacle(packed, size):
                continue
            folder = f"models/{self.id}-int4-g{group}-tp{size}"
            command = f"qwen-serve quantize {self.source} {folder} --group-size {group}"
            command += f" --tensor-parallel-size {size}"
            if inner != self.architecture.intermediate_size:
                command += " --pad"
            return Form(packed, folder, "gptq-int4", group, command)
        return None


def find(name: str, quantization: Quantization | None = None) -> Subject:
    """Find a model.

    Args:
        name: A checkpoint folder; or a name of the catalogue, in any case, with or without its owner and
            ``-Instruct`` (``qwen2.5-72b``).
        quantization: The form to plan for; default: the one that the name says.

    Raises:
        PlanFailed: There is no such model, with the nearest names; or it cannot be planned for.
    """
    folder = local_folder(name)
    if folder is not None and ("/" in name or folder.is_dir()) and catalog.find(name) is None:
        return _of_folder(folder, quantization)
    entry = catalog.find(name) or _by_short_name(name)
    if entry is None:
        raise PlanFailed(_unknown(name))
    base = entry
    if entry.name.lower().endswith(_INT4_SUFFIX):
        if quantization == "none":
            raise PlanFailed(f"{entry.name} is INT4; plan for it with gptq-int4, or name the model without")
        base, quantization = catalog.find(entry.source[: -len(_INT4_SUFFIX)]) or entry, "gptq-int4"
    return Subject(base.name.lower(), base.source, base.kind, base.architecture, base, quantization or "none")


def _of_folder(folder: Path, quantization: Quantization | None) -> Subject:
    try:
        architecture = read_architecture(folder)
    except CheckpointError as error:
        raise PlanFailed(str(error)) from error
    if not architecture.is_dense_qwen:
        raise PlanFailed(
            f"{folder}: nothing is known of how {architecture.name} uses memory; the planner knows dense "
            "Qwen2 and Qwen3 models"
        )
    packed = architecture.quantization
    if packed and (packed.method, packed.bits) != ("gptq", 4):
        raise PlanFailed(
            f"{folder} is quantized by {packed.method}; the planner knows bf16 and GPTQ with 4 bits"
        )
    if packed and quantization == "none":
        raise PlanFailed(f"{folder} is INT4 already; leave --quantization out")
    found: Quantization = "gptq-int4" if packed else quantization or "none"
    return Subject(folder.resolve().name, str(folder), _kind(architecture), architecture, None, found)


def _kind(architecture: Architecture) -> ModelKind:
    if architecture.name.endswith("ForSequenceClassification"):
        return ModelKind.RERANKER
    if architecture.vision is not None:
        return ModelKind.VISION_LANGUAGE
    return ModelKind.TEXT if architecture.name.endswith("ForCausalLM") else ModelKind.EMBEDDING


def _by_short_name(name: str) -> catalog.Entry | None:
    wanted = name.lower().rsplit("/", 1)[-1].replace("_", "-")
    plain = wanted.removesuffix(_INT4_SUFFIX)
    packed = _INT4_SUFFIX if plain != wanted else ""
    names = {entry.name.lower(): entry for entry in catalog.entries()}
    return names.get(wanted) or names.get(f"{plain}-instruct{packed}")


def _unknown(name: str) -> str:
    successor = catalog.successor(name)
    if successor:
        return f"{name} is of Qwen's first generation, which vLLM dropped; use {successor}"
    names = [entry.name.lower() for entry in catalog.entries() if _INT4_SUFFIX not in entry.name.lower()]
    short = {one.removesuffix("-instruct"): one for one in names}
    near = difflib.get_close_matches(name.lower().rsplit("/", 1)[-1], [*short, *names], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the catalogue has {', '.join(short)}"
    return f"no model {name!r} in the catalogue and no such folder; {hint}"

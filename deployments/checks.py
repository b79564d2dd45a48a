"""Whether a model's configuration can work at all, found out before anything starts.

Every rule is one that the engine or Ray would break on, later and less clearly. Nothing is loaded: a
checkpoint's ``config.json`` or the catalogue tells the model's shape.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from deployments import catalog, fit, split
from deployments.architecture import Architecture
from deployments.checkpoint import CheckpointError, local_folder
from deployments.config import AcceleratorConfig, ModelConfig, ModelKind, SimulationConfig
from deployments.problem import Problem
from deployments.weights import Location, WeightsError

__all__ = ["RETIRED_ARCHITECTURES", "Problem", "alias_problems", "kinds_of", "problems", "this_cpu_flags"]

RETIRED_ARCHITECTURES = {
    "QWenLMHeadModel": "Qwen/Qwen2.5-7B-Instruct or another size of Qwen2.5",
    "QwenVLForConditionalGeneration": "Qwen/Qwen2-VL-7B-Instruct",
}
"""Architectures that vLLM had until 0.23.0, and what takes their place."""


def problems(
    model: ModelConfig,
    accelerators: Mapping[str, AcceleratorConfig],
    *,
    cpu_flags: frozenset[str] | None = None,
) -> list[Problem]:
    """All that is wrong with a model, errors first.

    Args:
        model: The model.
        accelerators: The cluster's GPU machines, by accelerator type.
        cpu_flags: Abilities of the CPU that an engine without a GPU will run on; default: this machine's.
    """
    if model.simulation is not None:
        return [*_placement(model, accelerators), *_simulation(model, model.simulation)]
    try:
        Location.parse(model.source)
    except WeightsError as error:
        return [Problem("source", str(error)), *_placement(model, accelerators)]
    entry = catalog.find(model.source)
    flags = this_cpu_flags() if cpu_flags is None else cpu_flags
    found = [*_placement(model, accelerators), *_cpu(model, flags), *_combinations(model)]
    successor = catalog.successor(model.source)
    if successor:
        return [Problem("source", _retired(model.source, successor)), *found]
    try:
        architecture = catalog.architecture(model.source)
    except CheckpointError as error:
        # The folder of a GPU model may be on the cluster's machines only.
        folder = local_folder(model.source)
        elsewhere = model.accelerator and folder is not None and not folder.is_dir()
        found.append(Problem("source", str(error), "warning" if elsewhere else "error"))
        architecture = None
    else:
        if architecture is None:
            message = "no folder here and not in the catalogue: its shape and size could not be checked"
            found.append(Problem("source", f"{model.source}: {message}", "warning"))
    if architecture is not None:
        found += _shape(model, architecture, entry, accelerators)
    return sorted(found, key=lambda problem: problem.severity == "warning")


def alias_problems(aliases: Mapping[str, str], models: Sequence[ModelConfig]) -> list[Problem]:
    """Warn where a name of the public cloud points at a model of another kind.

    Args:
        aliases: Name to model id.
        models: The application's models.
    """
    kinds = {model.id: model.kind for model in models}
    found = []
    for alias, target in aliases.items():
        wanted, given = catalog.public_kind(alias), kinds.get(target)
        if wanted and given and wanted is not given:
            message = f"the public cloud's {alias} is a model of kind {wanted}, {target} is of kind {given}"
            found.append(Problem(f"aliases.{alias}", f"{message}; clients may fail", "warning"))
    return found


def this_cpu_flags() -> frozenset[str]:
    """Abilities of this machine's CPU as Linux names them; empty where Linux does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def _shape(
    model: ModelConfig,
    architecture: Architecture,
    entry: catalog.Entry | None,
    accelerators: Mapping[str, AcceleratorConfig],
) -> Iterator[Problem]:
    if architecture.name in RETIRED_ARCHITECTURES:
        yield Problem("source", _retired(architecture.name, RETIRED_ARCHITECTURES[architecture.name]))
        return
    accelerator = accelerators.get(model.accelerator or "")
    yield from _kind(model, architecture, entry)
    yield from fit.quantization(model, architecture)
    yield from fit.division(model, architecture, accelerator)
    yield from fit.context(model, architecture, entry)
    if accelerator:
        yield from fit.memory(model, architecture, entry, accelerator)


def _retired(name: str, successor: str) -> str:
    return f"{name} is of Qwen's first generation, which vLLM dropped after 0.23.0; use {successor}"


def _placement(model: ModelConfig, accelerators: Mapping[str, AcceleratorConfig]) -> Iterator[Problem]:
    if model.accelerator is None:
        return
    accelerator = accelerators.get(model.accelerator)
    if accelerator is None:
        near = difflib.get_close_matches(model.accelerator, accelerators, n=1, cutoff=0.4)
        listed = f"one of {', '.join(accelerators)}" if accelerators else "the table is empty"
        hint = f"did you mean {near[0]!r}?" if near else listed
        yield Problem("accelerator", f"{model.accelerator!r} is not in the accelerators table; {hint}")
    elif model.tensor_parallel_size > accelerator.gpus_per_node:
        yield Problem(
            "tensor_parallel_size",
            f"{model.tensor_parallel_size} is more than the {accelerator.gpus_per_node} GPUs of one "
            f"{model.accelerator} machine, and a replica stays on one machine; use at most "
            f"{accelerator.gpus_per_node}",
        )


def _simulation(model: ModelConfig, simulation: SimulationConfig) -> Iterator[Problem]:
    """No checkpoint, no kernel and no CPU to check: only what the simulated engine itself needs."""
    if model.max_model_len and model.max_model_len > simulation.kv_cache_tokens:
        yield Problem(
            "simulation.kv_cache_tokens",
            f"{simulation.kv_cache_tokens} holds no request of max_model_len {model.max_model_len}; "
            "raise it, or lower max_model_len",
        )
    message = "the engine is simulated: for load tests only, its answers mean nothing"
    yield Problem("simulation", message, "warning")


def _combinations(model: ModelConfig) -> Iterator[Problem]:
    if model.engine_kwargs.get("pipeline_parallel_size", 1) != 1:
        yield Problem(
            "engine_kwargs.pipeline_parallel_size",
            "a replica has one GPU per tensor parallel rank and none for pipeline stages; "
            "raise tensor_parallel_size instead",
        )
    if model.quantization == "gptq-int4" and model.dtype == "float32":
        yield Problem("dtype", "INT4 weights work with bfloat16 and float16 only; use auto")
    if model.quantization == "gptq-int4" and model.group_size not in split.INT4_GROUP_SIZES:
        allowed = ", ".join(map(str, split.INT4_GROUP_SIZES))
        yield Problem(
            "group_size", f"vLLM has no INT4 kernel for groups of {model.group_size}; use {allowed}"
        )


def _cpu(model: ModelConfig, flags: frozenset[str]) -> Iterator[Problem]:
    if model.accelerator is not None:
        return
    if model.attention_backend != "auto":
        message = f"{model.attention_backend} is ignored by an engine on the CPU; leave it at auto"
        yield Problem("attention_backend", message, "warning")
    if model.sleep_level is not None:
        message = "an engine on the CPU has no sleep mode: it is skipped, and the model stays awake"
        yield Problem("sleep_level", f"{message}; leave it out", "warning")
    if model.quantization == "gptq-int4" and flags and "avx512f" not in flags:
        message = "vLLM's INT4 kernel for CPUs needs AVX-512, which this CPU lacks; serve it unquantized here"
        yield Problem("quantization", message, "warning")
    if not model.engine_kwargs.get("enforce_eager") and not (shutil.which("c++") or shutil.which("g++")):
        message = (
            "an engine on the CPU compiles the model unless it is true, and there is no C++ compiler here"
        )
        yield Problem("engine_kwargs.enforce_eager", f"{message}; set it, or install g++", "warning")


def _kind(model: ModelConfig, architecture: Architecture, entry: catalog.Entry | None) -> Iterator[Problem]:
    name = _final_name(model, architecture, entry)
    fitting = kinds_of(name, architecture)
    if model.kind is ModelKind.RERANKER and name.endswith("ForCausalLM"):
        advice = "use a ...ForSequenceClassification checkpoint, or Qwen3-Reranker under its own name"
        yield Problem("kind", f"{name} writes text and gives no scores; {advice}")
    elif model.kind not in fitting:
        names = " or ".join(fitting)
        yield Problem("kind", f"{name} is a model of kind {names}, not {model.kind}; set kind: {fitting[0]}")
    elif entry and entry.kind is not model.kind:
        severity: Literal["error", "warning"] = "error" if model.kind.generates else "warning"
        message = f"{entry.name} is made for kind {entry.kind}, not {model.kind}; set kind: {entry.kind}"
        yield Problem("kind", message, severity)


def _final_name(model: ModelConfig, architecture: Architecture, entry: catalog.Entry | None) -> str:
    """The architecture that the engine will run: overrides may replace the checkpoint's."""
    names = catalog.overrides(model, entry).get("architectures")
    return str(names[0]) if isinstance(names, list) and names else architecture.name


def kinds_of(name: str, architecture: Architecture) -> tuple[ModelKind, ...]:
    """What a model of that architecture can be used for, the likeliest first."""
    if name.endswith("ForSequenceClassification"):
        return (ModelKind.RERANKER,)
    if architecture.vision is not None:
        return (ModelKind.VISION_LANGUAGE, ModelKind.EMBEDDING)
    if name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        return (ModelKind.TEXT, ModelKind.EMBEDDING)
    return (ModelKind.EMBEDDING,)

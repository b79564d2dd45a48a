"""A configuration that exists: what its models get of their GPUs, and what those cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from cluster.plan import mix, tables
from cluster.plan.cost import bill
from cluster.plan.failure import PlanFailed
from cluster.plan.mix import Mix
from cluster.plan.placement import Placement
from cluster.plan.plan import Plan, finish
from cluster.plan.requirements import Assumptions, Load, ModelRequirement, Requirements
from cluster.plan.sizing import Sizing, together
from cluster.plan.subject import Form, Subject
from cluster.plan.tables import Gpu
from deployments import catalog, memory
from deployments.architecture import Architecture
from deployments.checkpoint import CheckpointError, local_folder, read_architecture
from deployments.config import AcceleratorConfig, ModelConfig


@dataclass(frozen=True, slots=True)
class Review:
    """What can be said of a configuration.

    Attributes:
        plan: Of the models on GPUs, each at its most replicas.
        outside: The other models, and why.
    """

    plan: Plan
    outside: tuple[str, ...]


def review(
    models: Sequence[ModelConfig], accelerators: Mapping[str, AcceleratorConfig], given: Assumptions
) -> Review:
    """Work out what a configuration's models get.

    Raises:
        PlanFailed: None of them runs on a GPU, or of none is anything known.
    """
    choices: list[Sizing] = []
    outside: list[str] = []
    for model in models:
        try:
            choices.append(_sized(model, accelerators, given))
        except PlanFailed as error:
            outside.append(f"{model.id}: {error}")
    if not choices:
        raise PlanFailed(f"nothing to plan: {'; '.join(outside)}")
    requirements = Requirements(
        **{name: getattr(given, name) for name in Assumptions.model_fields},
        models=tuple(ModelRequirement(name=one.placement.subject.id) for one in choices),
    ).model_copy(update={"gpus_per_machine": _slots(accelerators)})
    fleets = mix.fleets_of(choices, requirements)
    priced = all(one.gpu.price_usd is not None and one.gpu.power_w is not None for one in fleets)
    chosen = Mix(tuple(choices), fleets, bill(fleets, requirements) if priced else None)
    return Review(finish(requirements, chosen), tuple(outside))


def _slots(accelerators: Mapping[str, AcceleratorConfig]) -> dict[str, int]:
    return {name: one.gpus_per_node for name, one in accelerators.items()}


def _sized(model: ModelConfig, accelerators: Mapping[str, AcceleratorConfig], given: Assumptions) -> Sizing:
    if model.simulation is not None:
        raise PlanFailed("its engine is simulated")
    if model.accelerator is None:
        raise PlanFailed("it runs on the CPU, which the planner does not know")
    entry = catalog.find(model.source)
    architecture = _architecture(model, entry)
    gpu = _gpu(model.accelerator, accelerators[model.accelerator], given)
    shape = memory.shape_of(model, architecture, entry, gpu.memory_bytes)
    estimate = memory.estimate(architecture, shape)
    share = model.engine_kwargs.get("gpu_memory_utilization", memory.UTILIZATION)
    tokens = estimate.kv_tokens(gpu.memory_bytes, float(share))
    if model.kv_cache_bytes:
        tokens = model.kv_cache_bytes // (estimate.kv_bytes_per_token * estimate.block_tokens)
        tokens *= estimate.block_tokens
    context = model.max_model_len or (entry.context_tokens if entry else architecture.max_position_embeddings)
    one = Subject(model.id, model.source, model.kind, architecture, entry, model.quantization)
    form = Form(architecture, model.source, model.quantization, model.group_size)
    placed = Placement(one, form, gpu, model, shape, estimate, context, tokens)
    load = Load(context_tokens=context)
    running = min(round(model.autoscale.target_ongoing_requests), shape.max_num_seqs)
    replicas = model.autoscale.max_replicas
    requirement = Requirements(models=(ModelRequirement(name=model.id),))
    return together(placed, load, replicas, running, requirement.objective, given.efficiency)


def _architecture(model: ModelConfig, entry: catalog.Entry | None) -> Architecture:
    folder = local_folder(model.source)
    if folder is not None and folder.is_dir():
        try:
            found = read_architecture(folder)
        except CheckpointError as error:
            raise PlanFailed(str(error)) from error
    elif entry is not None:
        found = entry.architecture
    else:
        raise PlanFailed(f"{model.source} is neither a folder here nor in the catalogue")
    if not found.is_dense_qwen:
        raise PlanFailed(f"nothing is known of how {found.name} uses memory")
    return found


def _gpu(name: str, accelerator: AcceleratorConfig, given: Assumptions) -> Gpu:
    """The table's row with the configuration's memory; for a name of your own that memory alone."""
    size = accelerator.memory_gib
    if name in tables.gpus():
        return given.gpu(name).model_copy(update={"memory_gib": size})
    return Gpu(
        name=name,
        memory_gib=size,
        driver_gib=size,
        host="pcie",
        source="the configuration",
        date=date.today(),
        checked=False,
    )

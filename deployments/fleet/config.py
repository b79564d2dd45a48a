"""What the fleet policy is told: the models, what a replica of each takes, and the rules' figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from deployments.architecture import Architecture
from deployments.config import AcceleratorName, FrozenConfig, ModelConfig, ModelId
from deployments.expectation import Expectation
from deployments.fleet.observation import NOTHING, Footprint

CPU = "CPU"
"""The accelerator of nodes whose slots engines without a GPU take; see ``cpu_engines_per_node``."""

_CPU_GPUS = 0.05
"""A model without a GPU is cheap to keep, yet not for nothing."""


class FleetModel(FrozenConfig):
    """One model as the fleet sees it."""

    id: ModelId = Field(..., description="The name that clients ask for.")
    accelerator: AcceleratorName | None = Field(
        None, description="GPU type that it needs; none: it runs on the CPU."
    )
    tensor_parallel_size: PositiveInt = Field(1, le=64, description="GPUs of one node that a replica needs.")
    gpu_share: PositiveFloat = Field(
        1, le=1, description="Share of each of its GPUs that a replica takes; Ray counts in 1/1000 here."
    )
    min_replicas: NonNegativeInt = Field(
        0, description="Replicas that always run; 1 or more pins the model: it is never unloaded."
    )
    max_replicas: PositiveInt = Field(1, description="Replicas that run at most.")
    target_ongoing_requests: PositiveFloat = Field(
        16, description="Requests in hand per replica that the fleet aims at."
    )
    reports_kv_cache: bool = Field(
        True, description="Its engine says how full its KV cache is; pooling models have none."
    )
    expected_load_s: PositiveFloat = Field(
        60, description="From placed to ready, seconds, until it has been measured."
    )
    sleep_bytes: PositiveInt | None = Field(
        None, description="Host memory of a replica that sleeps; none: the engine does not support sleep."
    )
    expected_wake_s: PositiveFloat = Field(
        5,
        description="From asleep to ready, seconds, until it has been measured; vLLM's level 1: 0.3 to 6.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas ({self.max_replicas}) must be at least min_replicas ({self.min_replicas})"
            )
        if self.gpu_share < 1 < self.tensor_parallel_size:
            raise ValueError("gpu_share must be 1 where tensor_parallel_size is more than 1")
        return self

    @classmethod
    def from_config(
        cls, model: ModelConfig, architecture: Architecture | None = None, **fleet: object
    ) -> Self:
        """The fleet's view of a configured model.

        Args:
            model: As the operator wrote it.
            architecture: Its shape, from which follows what the operator has left out; none: it is not known.
            fleet: Fields that ``ModelConfig`` does not have, or has with other bounds.
        """
        scale, expected = model.autoscale, Expectation.of(model, architecture)
        known: dict[str, object] = {
            "id": model.id,
            "accelerator": model.accelerator,
            "tensor_parallel_size": model.tensor_parallel_size,
            "gpu_share": model.gpu_share,
            "min_replicas": scale.min_replicas,
            "max_replicas": scale.max_replicas,
            "target_ongoing_requests": scale.target_ongoing_requests,
            "reports_kv_cache": model.kind.generates,
            "expected_load_s": expected.load_s,
            "sleep_bytes": expected.sleep_bytes if _can_sleep(model) else None,
        }
        return cls.model_validate({**known, **fleet})

    @property
    def pinned(self) -> bool:
        """Whether it always runs, which is what operators call a hot model."""
        return self.min_replicas > 0

    @cached_property
    def footprint(self) -> Footprint:
        """What one replica of it takes."""
        if self.accelerator is None:
            return NOTHING
        if self.accelerator == CPU:
            return Footprint(1)
        return Footprint(self.tensor_parallel_size, round(self.gpu_share * 1000))

    @property
    def gpus(self) -> float:
        """What keeping one replica costs, in GPUs."""
        return _CPU_GPUS if self.accelerator in (None, CPU) else self.footprint.total


class FleetRules(FrozenConfig):
    """The rules' figures. Where each default comes from stands in docs/decisions/0014."""

    cpu_engines_per_node: PositiveInt | None = Field(
        None,
        description="Engines without a GPU that one machine runs at once; default: no limit. With a limit, "
        "each takes a slot of a node whose accelerator is CPU and whose gpus are so many.",
    )
    idle_unload_s: PositiveFloat = Field(
        600, description="A model that nobody asks for is unloaded after so long, at the latest."
    )
    idle_unload_min_s: PositiveFloat = Field(
        60, description="The shortest that the learned idle time may become; idle_unload_s: it is fixed."
    )
    waiting_weight: NonNegativeFloat = Field(
        3, description="Idle GPU seconds that a second is worth in which a client waits for a cold model."
    )
    min_residency_s: NonNegativeFloat = Field(
        60, description="A model that has become ready is neither evicted nor shrunk for so long."
    )
    quiet_s: NonNegativeFloat = Field(
        90,
        description="A model counts as busy until so long after its last request: a pause in a conversation.",
    )
    patience_s: PositiveFloat = Field(
        600, description="The longer another waits, the shorter quiet_s; after so long it is 0."
    )
    scale_up_after_s: NonNegativeFloat = Field(
        5, description="Load above the target lasts so long before a replica is added; a queue needs no wait."
    )
    look_back_s: PositiveFloat = Field(
        120, description="A replica goes when one fewer would have carried the peak of so long."
    )
    down_margin: NonNegativeFloat = Field(
        0.2, lt=1, description="Share of the remaining replicas' capacity that must be spare."
    )
    kv_cache_high: PositiveFloat = Field(
        0.9, le=1, description="KV cache usage from which a replica is added."
    )
    growth_delay_s: NonNegativeFloat = Field(
        60,
        description="A further replica queues as if it had come so much later: cold models first.",
    )
    reserve_after_s: NonNegativeFloat = Field(
        30,
        description="From so long a wait on, GPUs are kept for a model, and smaller ones no longer pass it.",
    )
    machines_after_s: NonNegativeFloat = Field(
        30,
        description="A model for which no room can be made asks Ray's autoscaler for a machine after "
        "so long; where there is no autoscaler, or it has its most machines, nothing comes of it.",
    )
    failure_backoff_s: PositiveFloat = Field(
        10, description="Wait after a failed start; it doubles with each further one."
    )
    failure_backoff_max_s: PositiveFloat = Field(600, description="The longest wait after a failed start.")
    warm_unload_s: PositiveFloat = Field(
        3600, description="A model that sleeps and that nobody asks for is unloaded after so long."
    )
    journal_entries: PositiveInt = Field(1000, description="Reasons that are kept.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.min_residency_s <= self.idle_unload_min_s <= self.idle_unload_s:
            raise ValueError("must be in this order: min_residency_s, idle_unload_min_s, idle_unload_s")
        return self


class FleetConfig(FleetRules):
    """The rules, and the models that they are for."""

    models: tuple[FleetModel, ...] = Field(..., min_length=1, description="All models of the application.")
    sleep_frees_gpus: bool = Field(
        True, description="Whether others may have the GPUs of a model that sleeps; not in Ray 2.60."
    )

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        if len({model.id for model in self.models}) < len(self.models):
            raise ValueError("models: an id is there twice")
        return self

    @cached_property
    def by_id(self) -> Mapping[str, FleetModel]:
        """The models by their names; those without a GPU on slots of the CPU, where these are limited."""
        if self.cpu_engines_per_node is None:
            return {model.id: model for model in self.models}
        return {model.id: _on_slots(model) for model in self.models}


def _can_sleep(model: ModelConfig) -> bool:
    """VLLM's engine on the CPU cannot; the simulated one can."""
    return model.sleep_level is not None and (model.accelerator is not None or model.simulation is not None)


def _on_slots(model: FleetModel) -> FleetModel:
    if model.accelerator is not None:
        return model
    return FleetModel.model_validate({**model.model_dump(), "accelerator": CPU})

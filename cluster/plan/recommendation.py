"""The part of a configuration that a plan comes to: ``accelerators:`` and ``models:``."""

from __future__ import annotations

import math
from typing import Any

import yaml

from cluster.plan.plan import Plan
from cluster.plan.sizing import Sizing
from deployments.config import AutoscaleConfig, ModelConfig

_TARGET_SHARE = 0.75
_QUEUE_SHARE = 1.1


def models(plan: Plan) -> tuple[ModelConfig, ...]:
    """Each model as the configuration takes it."""
    return tuple(_model(one) for one in plan.mix.choices)


def section(plan: Plan) -> dict[str, Any]:
    """As plain data."""
    accelerators = {
        one.gpu.name: {
            "gpus_per_node": plan.requirements.slots(one.gpu),
            "memory_gib": one.gpu.memory_gib,
        }
        for one in plan.mix.fleets
    }
    listed = [one.model_dump(mode="json", exclude_defaults=True) for one in models(plan)]
    return {"accelerators": accelerators, "models": listed}


def text(plan: Plan) -> str:
    """As YAML, for ``applications[].args``."""
    lines = ["# Written by `qwen-serve plan`. Goes under `args:` of the application; see docs/planning.md."]
    commands = [one.placement.form.made_by for one in plan.mix.choices]
    lines += [f"# First: {command}" for command in commands if command]
    return "\n".join(lines) + "\n" + yaml.safe_dump(section(plan), sort_keys=False)


def _model(one: Sizing) -> ModelConfig:
    slots = max(1, one.slots)
    autoscale = AutoscaleConfig(
        min_replicas=1,
        max_replicas=one.replicas,
        target_ongoing_requests=max(1, math.floor(slots * _TARGET_SHARE)),
        max_ongoing_requests=math.ceil(slots * _QUEUE_SHARE),
    )
    kwargs = {"max_num_seqs": slots} if slots < one.placement.shape.max_num_seqs else {}
    return one.placement.config.model_copy(update={"autoscale": autoscale, "engine_kwargs": kwargs})

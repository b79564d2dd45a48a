"""A configuration that exists, looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.plan import catalogue
from cluster.plan.catalogue import Review
from cluster.plan.failure import PlanFailed
from cluster.plan.requirements import Assumptions
from deployments import fit, memory
from deployments.config import AcceleratorConfig, ModelConfig, ModelKind
from serve_app.serve_file import load

ROOT = Path(__file__).resolve().parents[4]
GPUS = {"A10": AcceleratorConfig(gpus_per_node=4, memory_gib=22.4)}


def reviewed(*models: ModelConfig) -> Review:
    return catalogue.review(models, GPUS, Assumptions())


def model(name: str = "one", source: str = "Qwen/Qwen2.5-7B-Instruct", **given: object) -> ModelConfig:
    fields = {"id": name, "source": source, "kind": ModelKind.TEXT, "accelerator": "A10", **given}
    return ModelConfig.model_validate(fields)


def test_production_catalogue_is_worked_out_as_the_check_does() -> None:
    app = load(ROOT / "configs/a100-a10.yaml").app
    found = catalogue.review(app.models, app.accelerators, Assumptions())
    assert found.outside == ()
    assert [one.placement.subject.id for one in found.plan.mix.choices] == [one.id for one in app.models]
    for one, configured in zip(found.plan.mix.choices, app.models, strict=True):
        assert one.replicas == configured.autoscale.max_replicas
        gpu = app.accelerators[configured.accelerator or ""]
        assert one.placement.gpu.memory_gib == gpu.memory_gib
        architecture = one.placement.form.architecture
        shape = memory.shape_of(
            configured, architecture, one.placement.subject.entry, one.placement.gpu.memory_bytes
        )
        assert one.placement.memory == memory.estimate(architecture, shape)
        assert list(fit.memory(configured, architecture, one.placement.subject.entry, gpu)) == []
    assert found.plan.mix.bill is not None


def test_models_on_the_cpu_and_unknown_ones_are_left_out_by_name() -> None:
    found = reviewed(
        model(),
        model("cpu", accelerator=None),
        model("far", source="s3://models/own-model"),
        model("fake", simulation={}),
    )
    assert len(found.plan.mix.choices) == 1
    assert found.outside == (
        "cpu: it runs on the CPU, which the planner does not know",
        "far: s3://models/own-model is neither a folder here nor in the catalogue",
        "fake: its engine is simulated",
    )


def test_a_configuration_without_gpus_has_nothing_to_plan() -> None:
    with pytest.raises(PlanFailed, match="nothing to plan: cpu: it runs on the CPU"):
        reviewed(model("cpu", accelerator=None))


def test_an_accelerator_of_your_own_name_is_planned_for_by_its_memory() -> None:
    gpus = {"B7": AcceleratorConfig(gpus_per_node=2, memory_gib=30)}
    found = catalogue.review([model(accelerator="B7")], gpus, Assumptions())
    (choice,) = found.plan.mix.choices
    assert choice.placement.kv_tokens > 0
    assert choice.service is None
    assert found.plan.mix.bill is None
    assert found.plan.mix.fleets[0].machines == 1


def test_a_fixed_cache_is_taken_at_its_word() -> None:
    found = reviewed(model(kv_cache_bytes=1 << 30, max_model_len=4096))
    (choice,) = found.plan.mix.choices
    per_block = 16 * choice.placement.memory.kv_bytes_per_token
    assert choice.placement.kv_tokens == (1 << 30) // per_block * 16

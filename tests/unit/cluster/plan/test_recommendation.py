"""What a plan recommends is a configuration that the application takes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.plan import plan, recommendation
from cluster.plan.failure import PlanFailed
from deployments import checks
from deployments.config import AcceleratorConfig, ModelConfig
from tests.unit.cluster.plan.loads import requirements
from tests.unit.cluster.plan.test_plan import GPUS, MODELS


@given(
    name=st.sampled_from(MODELS),
    gpu=st.sampled_from((None, *GPUS)),
    quantization=st.sampled_from(["none", "gptq-int4", None]),
    context=st.sampled_from([512, 4096, 8192, 32768]),
    rate=st.one_of(st.none(), st.floats(0.05, 30)),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_checks_find_no_error_in_it(
    name: str, gpu: str | None, quantization: str | None, context: int, rate: float | None
) -> None:
    wanted: dict[str, Any] = {
        "name": name,
        "gpu": gpu,
        "quantization": quantization,
        "context_tokens": context,
    }
    wanted |= {"requests_per_second": rate, "prompt_tokens": 200, "output_tokens": 100}
    try:
        one = plan.make(requirements(wanted))
    except PlanFailed:
        return
    content = yaml.safe_load(recommendation.text(one))
    accelerators = {
        key: AcceleratorConfig.model_validate(value) for key, value in content["accelerators"].items()
    }
    (model,) = (ModelConfig.model_validate(entry) for entry in content["models"])
    found = checks.problems(model, accelerators)
    assert [problem for problem in found if problem.severity == "error"] == []


def test_it_says_how_many_replicas_and_requests() -> None:
    one = plan.make(requirements({"name": "qwen2.5-7b", "gpu": "A10", "requests_per_second": 20}))
    (model,) = recommendation.models(one)
    (choice,) = one.mix.choices
    assert model.autoscale.max_replicas == choice.replicas > 1
    assert model.autoscale.min_replicas == 1
    assert model.autoscale.target_ongoing_requests < choice.slots < model.autoscale.max_ongoing_requests


def test_a_checkpoint_that_nobody_publishes_comes_with_its_command() -> None:
    one = plan.make(requirements({"name": "qwen3-8b", "gpu": "A10", "quantization": "gptq-int4"}))
    text = recommendation.text(one)
    assert "# First: qwen-serve quantize Qwen/Qwen3-8B models/qwen3-8b-int4-g128-tp1 --group-size 128" in text
    assert yaml.safe_load(text)["models"][0]["source"] == "models/qwen3-8b-int4-g128-tp1"


@pytest.mark.parametrize("gpu", ["A10", "H100"])
def test_room_for_few_requests_bounds_the_engine(gpu: str) -> None:
    one = plan.make(
        requirements({"name": "qwen2.5-7b", "gpu": gpu, "concurrent": 2, "context_tokens": 16384})
    )
    (model,) = recommendation.models(one)
    assert model.engine_kwargs["max_num_seqs"] == one.mix.choices[0].slots

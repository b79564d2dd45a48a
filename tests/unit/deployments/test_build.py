from __future__ import annotations

from typing import Any

import pytest

from deployments.build import bundles, deployment_options, engine_kwargs, environment
from deployments.config import ModelConfig


def model(source: str = "Qwen/Qwen2.5-7B-Instruct", **fields: Any) -> ModelConfig:
    return ModelConfig.model_validate({"id": "m", "source": source, "kind": "text"} | fields)


def test_engine_takes_the_catalogues_defaults() -> None:
    kwargs = engine_kwargs(model())
    assert kwargs["max_model_len"] == 32768
    assert kwargs["tool_call_parser"] == "hermes"
    assert kwargs["enable_auto_tool_choice"] is True
    assert "reasoning_parser" not in kwargs
    assert engine_kwargs(model("Qwen/Qwen3-8B"))["reasoning_parser"] == "qwen3"


def test_models_own_word_wins_over_the_catalogue() -> None:
    kwargs = engine_kwargs(
        model("Qwen/Qwen3-8B", max_model_len=4096, tool_parser="none", reasoning_parser="none")
    )
    assert kwargs["max_model_len"] == 4096
    assert not kwargs.keys() & {"tool_call_parser", "enable_auto_tool_choice", "reasoning_parser"}


def test_unknown_models_leave_what_is_unset_to_the_engine() -> None:
    kwargs = engine_kwargs(model("/models/demo"))
    assert not kwargs.keys() & {"max_model_len", "tool_call_parser", "trust_remote_code", "hf_overrides"}


def test_original_reranker_becomes_a_classifier() -> None:
    kwargs = engine_kwargs(model("Qwen/Qwen3-Reranker-0.6B", kind="reranker"))
    assert kwargs["runner"] == "pooling"
    assert kwargs["hf_overrides"]["architectures"] == ["Qwen3ForSequenceClassification"]
    assert "<Document>" in kwargs["chat_template"]
    assert "convert" not in kwargs


def test_embedding_models_pool_and_can_be_cut() -> None:
    kwargs = engine_kwargs(model("Qwen/Qwen3-Embedding-0.6B", kind="embedding"))
    assert (kwargs["runner"], kwargs["convert"]) == ("pooling", "embed")
    assert kwargs["hf_overrides"] == {"is_matryoshka": True}
    assert "enable_auto_tool_choice" not in kwargs


def test_vision_models_limit_images_and_take_no_video() -> None:
    kwargs = engine_kwargs(
        model("Qwen/Qwen2-VL-7B-Instruct", kind="vision-language", max_images_per_prompt=3)
    )
    assert kwargs["limit_mm_per_prompt"] == {"image": 3, "video": 0}


def test_free_engine_arguments_are_passed_on() -> None:
    assert engine_kwargs(model(engine_kwargs={"max_num_seqs": 7}))["max_num_seqs"] == 7


@pytest.mark.parametrize("size", [1, 4])
def test_every_rank_has_a_bundle_with_its_gpu_type(size: int) -> None:
    found = bundles(model(accelerator="A10", tensor_parallel_size=size))
    assert found == [{"GPU": 1.0, "accelerator_type:A10": 0.001}] * size


def test_ranks_on_a_cpu_have_a_cpu_each() -> None:
    assert bundles(model(tensor_parallel_size=2)) == [{"CPU": 1.0}, {"CPU": 1.0}]


def test_threads_are_set_on_a_cpu_only() -> None:
    assert environment(model(cpu_threads=3))["OMP_NUM_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in environment(model(accelerator="A10"))


def test_replicas_and_queues_reach_serve() -> None:
    scale = {"min_replicas": 2, "max_replicas": 5, "max_ongoing_requests": 36, "max_queued_requests": 9}
    options = deployment_options(model(autoscale=scale, graceful_shutdown_timeout_s=42))
    assert (options["max_ongoing_requests"], options["max_queued_requests"]) == (36, 9)
    assert options["graceful_shutdown_timeout_s"] == 42
    assert options["autoscaling_config"]["min_replicas"] == 2
    assert options["autoscaling_config"]["max_replicas"] == 5


def test_eager_engine_on_the_cpu_compiles_nothing() -> None:
    assert environment(model(engine_kwargs={"enforce_eager": True}))["TORCH_COMPILE_DISABLE"] == "1"
    assert "TORCH_COMPILE_DISABLE" not in environment(model())


def test_engine_on_a_gpu_can_sleep_if_told_to() -> None:
    assert engine_kwargs(model(accelerator="A10", sleep_level=1))["enable_sleep_mode"] is True
    assert "enable_sleep_mode" not in engine_kwargs(model(accelerator="A10"))


def test_engine_on_a_cpu_would_not_start_with_sleep_mode() -> None:
    assert "enable_sleep_mode" not in engine_kwargs(model(sleep_level=1))

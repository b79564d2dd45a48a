from __future__ import annotations

from typing import Any

import pytest

from deployments import catalog
from deployments.config import ModelConfig
from deployments.expectation import (
    CPU_ENGINE_START_S,
    ENGINE_START_S,
    PROCESS_BYTES,
    SIMULATED_START_S,
    UNKNOWN_LOAD_S,
    Expectation,
)

INT4_72B = "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4"


def expected(source: str, **fields: Any) -> Expectation:
    given = {"id": "m", "source": source, "kind": "text", "accelerator": "A10"} | fields
    return Expectation.of(ModelConfig.model_validate(given), catalog.architecture(source))


def test_load_takes_the_start_and_the_reading_of_the_checkpoint() -> None:
    assert expected(INT4_72B).load_s == pytest.approx(ENGINE_START_S + 41.6, abs=0.1)  # 41.6 GB
    assert expected("Qwen/Qwen2.5-0.5B-Instruct", accelerator=None).load_s == pytest.approx(
        CPU_ENGINE_START_S + 1.0, abs=0.1
    )


def test_larger_models_are_expected_later() -> None:
    sizes = [expected(f"Qwen/Qwen2.5-{size}-Instruct").load_s for size in ("0.5B", "7B", "32B", "72B")]
    assert sizes == sorted(sizes)
    assert expected(INT4_72B).load_s < expected("Qwen/Qwen2.5-72B-Instruct").load_s


def test_sleep_at_level_1_keeps_the_weights_of_all_ranks() -> None:
    for size in (2, 4):
        found = expected(INT4_72B, tensor_parallel_size=size, sleep_level=1)
        assert found.sleep_bytes - PROCESS_BYTES == pytest.approx(41.6e9, rel=0.01)
    assert expected(INT4_72B, sleep_level=2).sleep_bytes == PROCESS_BYTES


def test_what_the_operator_says_goes_first() -> None:
    found = expected(INT4_72B, sleep_level=1, expected_load_s=7, sleep_memory_bytes=5)
    assert found == Expectation(7, 5)


def test_simulated_engine_takes_its_own_time() -> None:
    model = ModelConfig.model_validate(
        {"id": "m", "source": "simulated", "kind": "text", "sleep_level": 1, "simulation": {"load_s": 4}}
    )
    assert Expectation.of(model, None) == Expectation(SIMULATED_START_S + 4, PROCESS_BYTES)


def test_models_of_other_families_are_expected_as_if_nothing_were_known() -> None:
    model = ModelConfig.model_validate({"id": "m", "source": "a/b", "kind": "embedding", "sleep_level": 1})
    assert Expectation.of(model, None) == Expectation(UNKNOWN_LOAD_S, PROCESS_BYTES)

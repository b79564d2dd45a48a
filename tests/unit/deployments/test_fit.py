"""Whether models fit the memory of their GPUs."""

from __future__ import annotations

import re
from typing import Any

from deployments.config import ModelConfig
from deployments.room import Room
from tests.unit.deployments.test_checks import FLEET, check, only


def room(source: str, **fields: Any) -> Room | None:
    given = {"id": "m", "source": source, "kind": "text", "accelerator": "A10"} | fields
    return Room.find(ModelConfig.model_validate(given), FLEET)


def test_weights_larger_than_the_gpus_are_refused() -> None:
    problem = only(check("Qwen/Qwen2.5-72B-Instruct", accelerator="A10", tensor_parallel_size=4))
    assert problem.path == "tensor_parallel_size"
    assert "holds 34.0 GiB of weights" in problem.message
    assert "20.6 of its 22.4 GiB" in problem.message


def test_no_room_for_one_request_is_refused() -> None:
    fields = {"accelerator": "A10", "tensor_parallel_size": 1}
    problem = only(check("Qwen/Qwen3-8B", **fields, max_model_len=40960))
    assert problem.path == "max_model_len"
    assert "5.6 GiB of KV cache for one request of 40960 tokens" in problem.message
    assert check("Qwen/Qwen3-8B", **fields, max_model_len=16384) == []


def test_what_is_only_estimated_warns() -> None:
    fields = {"accelerator": "A10", "max_model_len": 36000, "engine_kwargs": {"max_num_seqs": 64}}
    problem = only(check("Qwen/Qwen3-8B", **fields))
    assert (problem.path, problem.severity) == ("max_model_len", "warning")
    longest = re.search(r"room for requests of (\d+) tokens, not 36000", problem.message)
    assert longest is not None
    assert check("Qwen/Qwen3-8B", **fields | {"max_model_len": int(longest[1])}) == []


def test_kv_cache_of_a_set_size_must_hold_a_request() -> None:
    source, per_token = "Qwen/Qwen2.5-7B-Instruct", 2 * 28 * 4 * 128 * 2
    block = 16 * per_token
    exact = 8192 * per_token + block  # a block is the engine's own
    assert check(source, accelerator="A10", max_model_len=8192, kv_cache_bytes=exact) == []
    problem = only(check(source, accelerator="A10", max_model_len=8192, kv_cache_bytes=exact - 1))
    assert (problem.path, problem.severity) == ("kv_cache_bytes", "error")
    assert "holds requests of 8176 tokens, not 8192" in problem.message


def test_kv_cache_of_a_set_size_must_fit_beside_the_weights() -> None:
    fields = {"accelerator": "A10", "max_model_len": 8192, "kv_cache_bytes": 9 << 30}
    problem = only(check("Qwen/Qwen2.5-7B-Instruct", **fields))
    assert problem.severity == "error"
    assert "14.2 GiB of weights and 9.0 GiB of KV cache, but" in problem.message


def test_room_of_a_configured_model_is_told() -> None:
    found = room("Qwen/Qwen2.5-7B-Instruct", max_model_len=8192)
    assert found is not None
    assert (found.tokens, found.possible_tokens, found.longest_context) == (8192, 32768, 32768)
    assert found.kv_tokens > 75_000
    tight = room("Qwen/Qwen2.5-7B-Instruct", engine_kwargs={"gpu_memory_utilization": 0.7})
    assert tight is not None
    assert tight.kv_tokens < found.kv_tokens


def test_models_without_a_gpu_or_a_known_size_have_no_room_to_tell() -> None:
    assert room("Qwen/Qwen2.5-7B-Instruct", accelerator=None) is None
    assert room("someone/their-model") is None
    assert room("/models/not-here") is None
    assert room("Qwen/Qwen2.5-7B-Instruct", simulation={}) is None

"""Where models can stand."""

from __future__ import annotations

import pytest

from cluster.plan import subject, tables
from cluster.plan.placement import Placement, Refusal, placements
from cluster.plan.requirements import Load
from deployments import memory
from tests.unit.cluster.plan.loads import placed


def found(name: str, gpu: str, slots: int, load: Load | None = None) -> list[Placement | Refusal]:
    return list(placements(subject.find(name), tables.gpu(gpu), slots, load or Load()))


def test_72b_in_int4_stands_on_four_a10_and_on_no_fewer() -> None:
    sizes = {one.size: type(one) for one in found("qwen2.5-72b-gptq-int4", "A10", 4)}
    assert sizes == {1: Refusal, 2: Refusal, 4: Placement}


def test_72b_in_bf16_stands_on_two_a100_of_80_gb_but_not_on_four_a10() -> None:
    assert placed("qwen2.5-72b", "A100-80G", 2)
    refused = found("qwen2.5-72b", "A10", 4)[-1]
    assert isinstance(refused, Refusal)
    assert "34.0 GiB of weights" in refused.reason


def test_figures_are_those_of_the_common_memory_model() -> None:
    one = placed("qwen2.5-7b", "A10", 1)
    estimate = memory.estimate(one.form.architecture, one.shape)
    assert one.memory == estimate
    assert one.kv_tokens == estimate.kv_tokens(one.gpu.memory_bytes)
    assert one.longest_context == min(32768, estimate.longest_context(one.gpu.memory_bytes))


def test_a_split_that_vllm_refuses_is_refused_with_its_reason() -> None:
    refused = found("qwen2.5-7b", "H100", 8)[-1]
    assert refused == Refusal(8, "28 attention heads cannot be divided over 8")


def test_no_split_is_larger_than_the_machine() -> None:
    assert [one.size for one in found("qwen2.5-72b", "H100", 2)] == [1, 2]


def test_context_beyond_the_model_is_refused() -> None:
    refused = found("qwen2.5-7b", "A10", 1, Load(context_tokens=40_000))[0]
    assert isinstance(refused, Refusal)
    assert "40,000 tokens of context are more than the model's 32,768" in refused.reason


@pytest.mark.parametrize("tokens", [1, 16, 17, 8192])
def test_slots_hold_whole_blocks_and_leave_one_to_vllm(tokens: int) -> None:
    one = placed("qwen2.5-7b", "A10", 1)
    blocks = one.kv_tokens // 16 - 1
    assert one.slots(tokens) == min(one.shape.max_num_seqs, blocks // -(-tokens // 16))
    assert one.slots(one.kv_tokens * 2) == 0

"""Speeds by roofline: against published ones, and as they must change."""

from __future__ import annotations

import pytest

from cluster.plan import tables
from cluster.plan.requirements import Load
from cluster.plan.roofline import Efficiency, Roofline, roofline
from cluster.plan.tables import PublishedSpeed
from deployments import catalog, memory
from tests.unit.cluster.plan.loads import placed

TOLERANCE = 0.25
"""What docs/planning.md says of the efficiencies."""


def of(name: str, gpu: str, size: int, efficiency: Efficiency | None = None) -> Roofline:
    one = placed(name, gpu, size, Load(context_tokens=2048))
    return roofline(one.form.architecture, one.shape, one.memory, one.gpu, efficiency)


@pytest.mark.parametrize(
    "row", tables.published_speeds(), ids=lambda row: f"{row.model}-{row.gpu}-{row.batch}"
)
def test_decode_step_is_within_a_quarter_of_the_published_one(row: PublishedSpeed) -> None:
    entry = catalog.find(row.model)
    assert entry is not None
    shape = memory.EngineShape()
    gpu = tables.gpu("L20").model_copy(
        update={"bandwidth_gb_per_s": row.bandwidth_gb_per_s, "bf16_tflops": row.bf16_tflops}
    )
    estimate = memory.estimate(entry.architecture, shape)
    step_s = roofline(entry.architecture, shape, estimate, gpu).decode_step_s(row.batch, row.context_tokens)
    assert step_s * 1000 == pytest.approx(row.step_ms, rel=TOLERANCE)


def test_single_stream_reads_the_weights_once_per_token() -> None:
    """7B on an A10 without any loss: 13.1 GB of weights and output matrix over 600 GB/s."""
    whole = Efficiency(bandwidth=1, compute=1, link=1, step_s=1e-9)
    step_s = of("qwen2.5-7b", "A10", 1, whole).decode_step_s(1, 1)
    weights = 2 * (7_615_616_512 - 152_064 * 3584)
    assert step_s == pytest.approx(weights / 600e9, rel=0.01)


def test_prefill_is_bound_by_the_peak() -> None:
    whole = Efficiency(bandwidth=1, compute=1, link=1, step_s=1e-9)
    speeds = of("qwen2.5-7b", "A10", 1, whole)
    entry = catalog.find("Qwen/Qwen2.5-7B-Instruct")
    assert entry is not None
    flops = 2 * entry.architecture.linear_parameters * 2048
    assert speeds.prefill_s(2048) == pytest.approx(flops / 125e12, rel=0.06)  # attention on top
    assert speeds.prefill_s(2048) > flops / 125e12


@pytest.mark.parametrize("gpu", ["A10", "A100-80G", "H100"])
def test_int4_decodes_faster_and_prefills_as_fast(gpu: str) -> None:
    plain, packed = of("qwen2.5-7b", gpu, 1), of("qwen2.5-7b-gptq-int4", gpu, 1)
    assert packed.decode_step_s(1, 500) < 0.6 * plain.decode_step_s(1, 500)
    assert packed.prefill_s(1000) == pytest.approx(plain.prefill_s(1000), rel=0.02)


def test_more_requests_take_longer_together_but_less_each() -> None:
    speeds = of("qwen2.5-7b", "A10", 1)
    steps = [speeds.decode_step_s(batch, 500) for batch in (1, 8, 64)]
    assert steps == sorted(steps)
    assert steps[2] / 64 < steps[1] / 8 < steps[0]


def test_gpus_side_by_side_are_faster_but_pay_for_the_link() -> None:
    one, two = of("qwen2.5-7b", "A10", 1), of("qwen2.5-7b", "A10", 2)
    assert one.decode_step_s(1, 500) / 2 < two.decode_step_s(1, 500) < one.decode_step_s(1, 500)
    assert one.link_s == one.link_s_per_byte * 0 == 0


def test_prefill_among_running_requests_takes_longer() -> None:
    speeds = of("qwen2.5-7b", "A10", 1)
    assert speeds.busy_prefill_s(800, 0, 900) == pytest.approx(speeds.prefill_s(800))
    assert speeds.busy_prefill_s(800, 32, 900) > speeds.prefill_s(800)


def test_a_long_prompt_is_read_in_chunks() -> None:
    speeds = of("qwen2.5-7b", "A10", 1)
    assert (speeds.chunks(1), speeds.chunks(2048), speeds.chunks(2049)) == (1, 1, 2)

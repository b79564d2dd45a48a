"""The tables: complete, sourced, dense."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cluster.plan import tables
from cluster.plan.failure import PlanFailed
from cluster.plan.tables import Gpu
from deployments.config import ModelKind

WANTED = {"RTX-4090", "A10", "A100-40G", "A100-80G", "H100", "H200", "L20", "L40S", "Ascend-910B"}


def test_every_gpu_that_was_asked_for_is_there() -> None:
    assert set(tables.gpus()) == WANTED


@pytest.mark.parametrize("name", sorted(WANTED))
def test_memory_is_less_than_the_driver_shows_but_not_much(name: str) -> None:
    row = tables.gpu(name)
    assert 0 < row.driver_gib - row.memory_gib <= 3


@pytest.mark.parametrize("name", ["A10", "A100-40G", "A100-80G"])
def test_peak_is_the_dense_one_and_the_original_plan_had_twice_that(name: str) -> None:
    row = tables.gpu(name)
    assert row.original_plan_tflops == 2 * (row.bf16_tflops or 0)


def test_ascend_is_there_for_its_memory_alone() -> None:
    row = tables.gpu("ascend-910b")
    assert not row.has_speed
    assert row.price_usd is None


def test_every_row_names_its_source_and_date() -> None:
    rows = [*tables.gpus().values(), *tables.machines().values(), *tables.public_prices()]
    assert all(row.source and row.date for row in rows)


def test_public_prices_cover_what_the_original_plan_compared_with() -> None:
    names = {row.name for row in tables.public_prices()}
    assert names >= {
        "qwen-max",
        "qwen-plus",
        "qwen-turbo",
        "qwen-vl-max",
        "text-embedding-v3",
        "text-embedding-v4",
    }
    assert {row.kind for row in tables.public_prices()} == set(ModelKind) - {ModelKind.RERANKER}


def test_unknown_gpu_is_told_with_the_nearest() -> None:
    with pytest.raises(PlanFailed, match=r"no GPU 'A100-80' in the table; did you mean A100-80G"):
        tables.gpu("A100-80")


def test_a_row_with_an_unknown_key_is_refused() -> None:
    row = tables.gpu("A10").model_dump()
    with pytest.raises(ValidationError, match="did you mean 'bandwidth_gb_per_s'"):
        Gpu.model_validate({**row, "bandwith_gb_per_s": 600})

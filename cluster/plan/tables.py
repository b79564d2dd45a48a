"""The tables that a plan rests on: GPUs, machines, prices. Each row names its source and date.

They lie as YAML beside this module and are validated when they are first read.
"""

from __future__ import annotations

import difflib
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, TypeAdapter

from cluster.plan.failure import PlanFailed
from deployments.config import AcceleratorName, FrozenConfig, ModelKind

GIB = 1 << 30


class Row(FrozenConfig):
    """What every row says of itself."""

    source: str = Field(..., min_length=1, description="Where the figures are from.")
    date: date
    checked: bool = Field(..., description="Whether they were read there, rather than remembered or assumed.")


class Gpu(Row):
    """A GPU. Without bandwidth, peak and price it is planned for by its memory only."""

    name: AcceleratorName
    memory_gib: PositiveFloat = Field(..., description="What CUDA gives a process, GiB.")
    driver_gib: PositiveFloat = Field(..., description="What nvidia-smi shows, GiB.")
    bandwidth_gb_per_s: PositiveFloat | None = Field(None, description="Of its memory, 10^9 bytes/s.")
    bf16_tflops: PositiveFloat | None = Field(None, description="Dense peak of the tensor cores.")
    fp8_tflops: PositiveFloat | None = Field(None, description="The same; none: it has no fp8.")
    int8_tflops: PositiveFloat | None = Field(None, description="The same, 10^12 operations/s.")
    power_w: PositiveFloat | None = Field(None, description="Rated power.")
    link_gb_per_s: PositiveFloat = Field(32, description="To another GPU, one direction, 10^9 bytes/s.")
    link_us: PositiveFloat = Field(30, description="Least time of an all-reduce, microseconds.")
    host: Literal["pcie", "sxm"] = Field(..., description="The kind of machine that it goes into.")
    data_centre: bool = Field(True, description="Whether its licence allows a data centre.")
    price_usd: PositiveFloat | None = Field(None, description="An assumption for planning.")
    price_source: str | None = None
    original_plan_tflops: PositiveFloat | None = Field(None, description="What the original plan said.")

    @property
    def memory_bytes(self) -> int:
        """What CUDA gives a process."""
        return int(self.memory_gib * GIB)

    @property
    def has_speed(self) -> bool:
        """Whether more than its memory is known."""
        return self.bandwidth_gb_per_s is not None and self.bf16_tflops is not None


class Machine(Row):
    """What GPUs stand in."""

    name: Literal["pcie", "sxm"]
    gpus: PositiveInt = Field(..., description="GPUs that it holds.")
    whole: bool = Field(..., description="Whether it is sold with all of them only.")
    price_usd: PositiveFloat = Field(..., description="Without GPUs.")
    power_w: PositiveFloat = Field(..., description="Without GPUs.")


class CostRates(FrozenConfig):
    """What running it costs."""

    years: PositiveFloat = Field(3, description="Over which the purchase is spread.")
    cny_per_usd: PositiveFloat = Field(7.1, description="Exchange rate.")
    electricity_cny_per_kwh: NonNegativeFloat = Field(0.8, description="Price of power.")
    power_overhead: float = Field(1.4, ge=1, description="PUE: watts of the room per watt of a machine.")
    draw_share: float = Field(0.7, gt=0, le=1, description="Mean power over the rated power.")
    busy_share: float = Field(0.3, gt=0, le=1, description="Mean load over the peak that is planned for.")
    yearly_upkeep_share: float = Field(0.05, ge=0, le=1, description="Space and hands, of the purchase.")


class _CostRow(CostRates, Row):
    pass


class _Hosts(FrozenConfig):
    machines: tuple[Machine, ...]
    costs: _CostRow


class PublicPrice(Row):
    """What a model of the public API costs, CNY per million tokens."""

    name: str
    kind: ModelKind
    from_parameters_b: NonNegativeFloat = Field(..., description="Compared with models from this size on.")
    input_cny: NonNegativeFloat
    output_cny: NonNegativeFloat


class PublishedSpeed(FrozenConfig):
    """A decode step of vLLM that somebody measured and published."""

    model: str
    gpu: str
    bandwidth_gb_per_s: PositiveFloat
    bf16_tflops: PositiveFloat
    context_tokens: PositiveInt
    batch: PositiveInt
    step_ms: PositiveFloat
    source: str
    date: date


class OriginalFigure(FrozenConfig):
    """A figure that the project was started with."""

    claim: str
    original: str
    unit: Literal["GB", "TFLOPS"]
    value: PositiveFloat
    model: str | None = None
    gpu: str | None = None


@cache
def gpus() -> dict[str, Gpu]:
    """All GPUs, by name."""
    return {row.name: row for row in TypeAdapter(tuple[Gpu, ...]).validate_python(_read("gpus"))}


@cache
def machines() -> dict[str, Machine]:
    """What GPUs stand in, by name."""
    return {row.name: row for row in _hosts().machines}


@cache
def cost_rates() -> CostRates:
    """The assumptions about costs."""
    return CostRates(**{name: getattr(_hosts().costs, name) for name in CostRates.model_fields})


@cache
def public_prices() -> tuple[PublicPrice, ...]:
    """What the public API asks."""
    return TypeAdapter(tuple[PublicPrice, ...]).validate_python(_read("public_prices"))


@cache
def published_speeds() -> tuple[PublishedSpeed, ...]:
    """Decode steps that others measured."""
    return TypeAdapter(tuple[PublishedSpeed, ...]).validate_python(_read("published"))


@cache
def original_plan() -> tuple[OriginalFigure, ...]:
    """What the project was started with."""
    return TypeAdapter(tuple[OriginalFigure, ...]).validate_python(_read("original_plan"))


def gpu(name: str) -> Gpu:
    """A GPU by its name, in any case.

    Raises:
        PlanFailed: There is none of that name; with the nearest ones.
    """
    by_name = {known.lower(): row for known, row in gpus().items()}
    row = by_name.get(name.lower().replace(" ", "-").replace("_", "-"))
    if row is None:
        near = difflib.get_close_matches(name.lower(), by_name, n=2, cutoff=0.4)
        names = [by_name[one].name for one in near] or list(gpus())
        raise PlanFailed(f"no GPU {name!r} in the table; did you mean {' or '.join(names)}?")
    return row


@cache
def _hosts() -> _Hosts:
    return _Hosts.model_validate(_read("hosts"))


def _read(name: str) -> Any:
    return yaml.safe_load((resources.files("cluster.plan") / "data" / f"{name}.yaml").read_text("utf-8"))

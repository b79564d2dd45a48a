"""What is asked for: models, their load, the objective, and the assumptions that may be replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, model_validator

from cluster.plan import tables
from cluster.plan.failure import PlanFailed
from cluster.plan.roofline import Efficiency
from cluster.plan.subject import Quantization
from cluster.plan.tables import CostRates
from deployments.config import AcceleratorName, FrozenConfig

DEFAULT_CONTEXT_TOKENS = 8192
DEFAULT_PROMPT_TOKENS = 800
DEFAULT_OUTPUT_TOKENS = 300


class Load(FrozenConfig):
    """How much of a model is used, at the peak."""

    context_tokens: PositiveInt | None = Field(
        None, description="Longest request, prompt and answer together; default: 8192, or what the model has."
    )
    concurrent: PositiveInt | None = Field(
        None, description="Requests of that length that must have room at the same time."
    )
    requests_per_second: PositiveFloat | None = Field(None, description="Arrivals at the peak.")
    prompt_tokens: PositiveInt = Field(
        DEFAULT_PROMPT_TOKENS, description="Mean prompt, images included: 1024 x 1024 is about 1,370 tokens."
    )
    output_tokens: NonNegativeInt = Field(DEFAULT_OUTPUT_TOKENS, description="Mean answer.")
    variation: float = Field(
        1.0, ge=0, le=10, description="Standard deviation of both lengths over their means."
    )

    def scaled(self, factor: float) -> Load:
        """The same with so many times the requests."""
        update: dict[str, float | int] = {}
        if self.requests_per_second is not None:
            update["requests_per_second"] = self.requests_per_second * factor
        if self.concurrent is not None:
            update["concurrent"] = max(1, round(self.concurrent * factor))
        return self.model_copy(update=update)


class Objective(FrozenConfig):
    """What users are to get."""

    first_token_s: PositiveFloat | None = Field(
        2.0, description="The first token comes within so long, seconds; none: any time will do."
    )
    quantile: float = Field(0.95, gt=0, lt=1, description="For this share of requests.")
    tokens_per_second: PositiveFloat | None = Field(
        None, description="Mean speed of a stream after its first token; none: any will do."
    )
    max_utilization: float = Field(0.85, gt=0, lt=1, description="Of what a replica can carry.")


class ModelRequirement(Load):
    """A model that is to be served."""

    name: str = Field(..., min_length=1, description="A name of the catalogue, or a checkpoint folder.")
    quantization: Quantization | None = Field(
        None, description="none or gptq-int4; default: whichever costs less."
    )
    gpu: AcceleratorName | None = Field(None, description="On this GPU only; default: the cheapest.")
    objective: Objective | None = Field(None, description="Default: the common one.")

    @property
    def load(self) -> Load:
        """The load alone."""
        return Load(**{name: getattr(self, name) for name in Load.model_fields})


class Assumptions(FrozenConfig):
    """What the tables and factors are replaced with."""

    efficiency: Efficiency = Field(default_factory=Efficiency, description="Of GPUs.")
    costs: CostRates = Field(default_factory=tables.cost_rates, description="Of running it.")
    gpu_prices_usd: dict[AcceleratorName, PositiveFloat] = Field(
        default_factory=dict, description="In place of the table's."
    )
    gpus_per_machine: dict[AcceleratorName, PositiveInt] = Field(
        default_factory=dict, description="In place of the 4 of PCIe and the 8 of SXM machines."
    )

    @model_validator(mode="after")
    def _gpus_are_known(self) -> Self:
        for name in (*self.gpu_prices_usd, *self.gpus_per_machine):
            if name not in tables.gpus():
                raise ValueError(f"no GPU {name!r} in the table; one of {', '.join(tables.gpus())}")
        return self

    def gpu(self, name: str) -> tables.Gpu:
        """A row of the table, its price replaced.

        Raises:
            PlanFailed: There is none of that name.
        """
        row = tables.gpu(name)
        price = self.gpu_prices_usd.get(row.name)
        return row.model_copy(update={"price_usd": price, "price_source": "yours"}) if price else row

    def slots(self, gpu: tables.Gpu) -> int:
        """GPUs of this kind that a machine holds."""
        return self.gpus_per_machine.get(gpu.name) or tables.machines()[gpu.host].gpus


class Requirements(Assumptions):
    """A file of requirements."""

    models: tuple[ModelRequirement, ...] = Field(..., min_length=1)
    gpus: tuple[AcceleratorName, ...] = Field(
        (),
        description="What may be bought; default: all of the table with a speed, a price and a licence "
        "for data centres.",
    )
    objective: Objective = Field(default_factory=Objective, description="For models without their own.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [model.name.lower() for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"models: {name!r} is there twice; add up its load")
        return self

    @property
    def buyable(self) -> tuple[tables.Gpu, ...]:
        """The GPUs that a mix may have.

        Raises:
            PlanFailed: One of them is not in the table, or too little is known of it.
        """
        licensed = [name for name, row in tables.gpus().items() if row.data_centre]
        rows = [self.gpu(name) for name in self.gpus or licensed]
        known = tuple(row for row in rows if row.has_speed and row.price_usd is not None)
        if self.gpus and len(known) < len(rows):
            unknown = next(row.name for row in rows if row not in known)
            raise PlanFailed(
                f"{unknown} is in the table for its memory only: no speed, no price; leave it out of gpus"
            )
        return known


def load(path: Path) -> Requirements:
    """Read a file of requirements.

    Raises:
        PlanFailed: It cannot be used; with each key at fault, one to a line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanFailed(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanFailed(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise PlanFailed(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    try:
        return Requirements.model_validate(content)
    except ValidationError as error:
        raise PlanFailed("\n".join(_lines(path, error))) from error


def _lines(path: Path, error: ValidationError) -> list[str]:
    lines = []
    for detail in error.errors(include_url=False, include_input=False):
        location = [str(part) for part in detail["loc"]]
        if detail["type"] == "unknown_key":
            location.append(detail["ctx"]["key"])
        message = detail["msg"].removeprefix("Value error, ")
        lines.append(f"{path}: {'.'.join(location) or 'file'}: {message}")
    return lines

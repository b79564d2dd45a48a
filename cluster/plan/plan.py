"""A plan: from requirements to machines, with what users get and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cluster.plan import cost, mix, subject
from cluster.plan.cost import Comparison
from cluster.plan.failure import PlanFailed
from cluster.plan.mix import Mix
from cluster.plan.placement import Refusal, context_of, placements
from cluster.plan.requirements import ModelRequirement, Requirements
from cluster.plan.sizing import Sizing, size
from cluster.plan.subject import QUANTIZATIONS, Quantization, Subject
from cluster.plan.tables import Gpu

_MAX_REASONS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What to buy, and what it gives.

    Attributes:
        requirements: What was asked for.
        mix: The machines and each model's replicas.
        comparisons: Of each model with the public API; none where nothing is known.
        break_even_million_tokens: A month; none where nothing can be compared.
    """

    requirements: Requirements
    mix: Mix
    comparisons: tuple[Comparison | None, ...]
    break_even_million_tokens: float | None

    @property
    def carried_million_tokens(self) -> float | None:
        """What the machines read and write in a month at most, in the mix that was asked for.

        Of the models whose public price is known, so that it can be set against the break-even volume.
        None where a speed is not known.
        """
        compared = [
            choice for choice, one in zip(self.mix.choices, self.comparisons, strict=True) if one is not None
        ]
        carried, headroom = [], []
        for one in compared:
            if one.capacity_per_s is None:
                return None
            capacity = one.capacity_per_s * one.replicas
            carried.append(cost.monthly_million_tokens(one.placement.subject, one.load, capacity))
            headroom.append(capacity / (one.load.requests_per_second or capacity))
        if all(one.load.requests_per_second for one in compared):
            # The first model that is at its end ends it for all.
            factor = min(headroom, default=0.0)
            return sum(volume / room * factor for volume, room in zip(carried, headroom, strict=True))
        return sum(carried)


def make(requirements: Requirements) -> Plan:
    """Plan for all models together.

    Raises:
        PlanFailed: A model is not known, or fits nowhere: why, and what would help.
    """
    found = [list(options(model, requirements)) for model in requirements.models]
    priced = all(_priced(one) for choices in found for one in choices)
    chosen = mix.cheapest(found, requirements) if priced else mix.fewest(found, requirements)
    return finish(requirements, chosen)


def finish(requirements: Requirements, chosen: Mix) -> Plan:
    """Compare a choice with the public API."""
    comparisons = tuple(cost.compare(one.placement.subject, one.load, requirements) for one in chosen.choices)
    known = [one for one in comparisons if one is not None]
    volume = None
    if chosen.bill is not None and known:
        volume = cost.break_even_million_tokens(chosen.bill.per_month, known)
    return Plan(requirements, chosen, comparisons, volume)


def scaled(plan: Plan, factor: float) -> Plan:
    """The plan for so many times the requests, anew.

    Raises:
        PlanFailed: As for ``make``.
    """
    models = tuple(
        model.model_copy(update=dict(model.load.scaled(factor))) for model in plan.requirements.models
    )
    return make(plan.requirements.model_copy(update={"models": models}))


def _priced(one: Sizing) -> bool:
    return one.placement.gpu.price_usd is not None and one.placement.gpu.power_w is not None


def options(model: ModelRequirement, requirements: Requirements) -> Sequence[Sizing]:
    """Every placement of a model that carries its load.

    Raises:
        PlanFailed: There is none: why, and what would help.
    """
    subjects = _subjects(model)
    gpus = (requirements.gpu(model.gpu),) if model.gpu else requirements.buyable
    _check(subjects[0], model, gpus)
    objective = model.objective or requirements.objective
    found: list[Sizing] = []
    reasons: dict[str, str] = {}
    for one in subjects:
        for gpu in gpus:
            for placed in placements(one, gpu, requirements.slots(gpu), model.load):
                sized = (
                    placed.reason
                    if isinstance(placed, Refusal)
                    else size(placed, model.load, objective, requirements.efficiency)
                )
                if isinstance(sized, Sizing):
                    found.append(sized)
                else:
                    # Of each GPU the last, which is the largest split's, tells most.
                    reasons[gpu.name] = f"{_words(one.quantization)} on {placed.size} x {gpu.name}: {sized}"
    if not found:
        raise PlanFailed(_nowhere(subjects[0], model, requirements, list(reasons.values())))
    return found


def _check(one: Subject, model: ModelRequirement, gpus: Sequence[Gpu]) -> None:
    """Refuse what no placement could mend.

    Raises:
        PlanFailed: With what is wrong.
    """
    longest = one.architecture.max_position_embeddings
    output = model.output_tokens if one.kind.generates else 0
    context = context_of(one, model.load)
    if context > longest:
        raise PlanFailed(f"{one.id}: {context:,} tokens of context are more than the model's {longest:,}")
    if model.requests_per_second is not None and model.prompt_tokens + output > context:
        raise PlanFailed(
            f"{one.id}: a mean request of {model.prompt_tokens:,} + {output:,} tokens is longer than the "
            f"context of {context:,}; raise the context"
        )
    unknown = [gpu.name for gpu in gpus if not gpu.has_speed]
    if unknown and model.requests_per_second is not None:
        raise PlanFailed(
            f"nothing is known of the speed of {unknown[0]}; plan for concurrent requests instead of a rate"
        )


def _subjects(model: ModelRequirement) -> list[Subject]:
    found = subject.find(model.name, model.quantization)
    settled = found.quantization != "none" or model.quantization is not None
    if settled or not found.kind.generates:
        return [found]
    return [replace(found, quantization=one) for one in QUANTIZATIONS]


def _words(quantization: Quantization) -> str:
    return "bf16" if quantization == "none" else "INT4"


def _nowhere(
    one: Subject, model: ModelRequirement, requirements: Requirements, reasons: Sequence[str]
) -> str:
    helps = list(_helps(one, model, requirements))
    would = "; ".join(helps[:_MAX_REASONS]) or "a shorter context, a softer objective or a smaller model"
    return (
        f"{one.id} fits nowhere that was allowed. {'; '.join(reasons[:_MAX_REASONS])}. What would do: {would}"
    )


def _helps(one: Subject, model: ModelRequirement, requirements: Requirements) -> Iterator[str]:
    """Other GPUs, and INT4, that carry it."""
    objective = model.objective or requirements.objective
    packed = one.architecture.quantization is not None
    for quantization in (one.quantization,) if packed else reversed(QUANTIZATIONS):
        other = replace(one, quantization=quantization)
        for gpu in sorted(requirements.model_copy(update={"gpus": ()}).buyable, key=_price):
            for placed in placements(other, gpu, requirements.slots(gpu), model.load):
                if isinstance(placed, Refusal):
                    continue
                sized = size(placed, model.load, objective, requirements.efficiency)
                if isinstance(sized, Sizing):
                    yield f"{_words(quantization)} on {sized.gpus} x {gpu.name}"
                    break


def _price(gpu: Gpu) -> float:
    return gpu.price_usd or 0

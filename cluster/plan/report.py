"""A plan in words and numbers: as tables for a terminal, as Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cluster.plan import cost
from cluster.plan.cost import Bill
from cluster.plan.plan import Plan
from cluster.plan.requirements import Requirements
from cluster.plan.sizing import Sizing
from cluster.plan.tables import GIB

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Section:
    """A table.

    Attributes:
        title: What it shows.
        columns: Headings, with units.
        rows: Cells; none where nothing is known.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def sections(plan: Plan) -> list[Section]:
    """All tables of a plan."""
    choices = plan.mix.choices
    found = [_replicas(choices), _speed(choices, plan.requirements), _machines(plan)]
    if plan.mix.bill is not None:
        found.append(_money(plan.mix.bill, plan.requirements))
    compared = _public(plan)
    if compared.rows:
        found.append(compared)
    return found


def notes(plan: Plan) -> Iterator[str]:
    """What must be known with it."""
    given = plan.requirements
    for one in plan.mix.choices:
        if one.placement.form.made_by:
            yield f"no such checkpoint is published; make it: {one.placement.form.made_by}"
    if not plan.mix.exact:
        yield "there were too many choices to try them all; something cheaper may exist"
    if plan.mix.bill is None:
        yield "no price or power is known of these GPUs, so there is no cost"
    yield from _break_even(plan)
    pairs = zip(plan.mix.choices, plan.comparisons, strict=True)
    unknown = [choice.placement.subject.id for choice, one in pairs if one is None]
    if unknown:
        yield f"no public price is known for {', '.join(unknown)}, which the comparison leaves out"
    yield (
        f"speeds are not measured: a roofline with {given.efficiency.bandwidth:.0%} of the bandwidth and "
        f"{given.efficiency.compute:.0%} of the dense peak; prices are assumptions"
    )


def _break_even(plan: Plan) -> Iterator[str]:
    volume, carried = plan.break_even_million_tokens, plan.carried_million_tokens
    if volume is None or carried is None:
        return
    if volume > carried:
        yield (
            f"the public API costs less at any volume: own machines would pay from {volume:,.0f} million "
            f"tokens a month on, and carry {carried:,.0f}"
        )
    else:
        yield (
            f"own machines cost less than the public API from {volume:,.0f} million tokens a month on, "
            f"{volume / carried:.0%} of the {carried:,.0f} that they carry day and night"
        )


def print_rich(found: Sequence[Section], remarks: Sequence[str], console: Console) -> None:
    """Print tables and notes."""
    for section in found:
        table = Table(title=section.title, title_justify="left", box=box.SIMPLE_HEAD)
        for index, column in enumerate(section.columns):
            words = all(isinstance(row[index], str | None) for row in section.rows)
            table.add_column(column, justify="left" if words else "right", overflow="fold")
        for row in section.rows:
            table.add_row(*(_text(cell) for cell in row))
        console.print(table)
    for remark in remarks:
        console.print(f"* {remark}", markup=False)


def markdown(found: Sequence[Section], remarks: Sequence[str]) -> str:
    """The same as Markdown."""
    parts = []
    for section in found:
        lines = [f"**{section.title}**", "", _line(section.columns), _line(["---"] * len(section.columns))]
        lines += [_line([_text(cell) for cell in row]) for row in section.rows]
        parts.append("\n".join(lines))
    if remarks:
        parts.append("\n".join(f"* {remark}" for remark in remarks))
    return "\n\n".join(parts) + "\n"


def as_json(plan: Plan) -> dict[str, Any]:
    """The same for programs: plain numbers in the units that the keys name."""
    bill = plan.mix.bill
    return {
        "models": [
            {**_choice(one), "public_api": _comparison(plan, index)}
            for index, one in enumerate(plan.mix.choices)
        ],
        "machines": [
            {"gpu": one.gpu.name, "machines": one.machines, "gpus": one.bought, "gpus_used": one.used}
            for one in plan.mix.fleets
        ],
        "cost_cny": bill and {
            "purchase": round(bill.purchase),
            "power_per_month": round(bill.power_per_month),
            "upkeep_per_month": round(bill.upkeep_per_month),
            "per_month": round(bill.per_month),
            "total": round(bill.total),
            "years": plan.requirements.costs.years,
        },
        "break_even_million_tokens_per_month": plan.break_even_million_tokens,
        "carried_million_tokens_per_month": plan.carried_million_tokens,
        "exact": plan.mix.exact,
        "efficiency": plan.requirements.efficiency.model_dump(),
        "notes": list(notes(plan)),
    }  # fmt: skip


def _choice(one: Sizing) -> dict[str, Any]:
    placed, service = one.placement, one.service
    return {
        "id": placed.subject.id,
        "source": placed.form.source,
        "quantization": placed.form.quantization,
        "gpu": placed.gpu.name,
        "tensor_parallel_size": placed.size,
        "replicas": one.replicas,
        "gpus": one.gpus,
        "weights_bytes_per_gpu": placed.memory.weights_bytes,
        "kv_bytes_per_token_per_gpu": placed.memory.kv_bytes_per_token,
        "kv_tokens": placed.kv_tokens,
        "longest_context_tokens": placed.longest_context,
        "requests_at_once_per_replica": one.slots,
        "prefill_tokens_per_second": one.prefill_tokens_per_second,
        "stream_tokens_per_second": one.single_tokens_per_second,
        "capacity_requests_per_second": one.capacity_per_s and one.capacity_per_s * one.replicas,
        "utilization": service and service.utilization,
        "running_requests_per_replica": service and service.batch,
        "loaded_stream_tokens_per_second": service and service.tokens_per_second,
        "first_token_seconds": service and service.first_token_s,
        "first_token_quantile_seconds": service and service.first_token_quantile_s,
    }


def _comparison(plan: Plan, index: int) -> dict[str, Any] | None:
    one = plan.comparisons[index]
    if one is None:
        return None
    return {
        "name": one.price.name,
        "cny_per_million_tokens": one.cny_per_million,
        "million_tokens_per_month": one.million_tokens_per_month,
        "cny_per_month": one.cny_per_month,
    }


def _replicas(choices: Sequence[Sizing]) -> Section:
    columns = (
        *("model", "weights", "GPU", "tensor parallel", "replicas", "GPUs", "weights, GiB/GPU"),
        *("KV tokens", "longest context", "longest requests at once", "mean requests at once"),
    )
    rows = tuple(
        (
            one.placement.subject.id,
            "bf16" if one.placement.form.quantization == "none" else "INT4",
            one.placement.gpu.name,
            one.placement.size,
            one.replicas,
            one.gpus,
            one.placement.memory.weights_bytes / GIB,
            one.placement.kv_tokens,
            one.placement.longest_context,
            one.placement.slots(one.placement.context_tokens),
            one.placement.slots(cost.mean_tokens(one.placement.subject, one.load)),
        )
        for one in choices
    )
    return Section("Replicas (KV tokens, context, requests: of each)", columns, rows)


def _speed(choices: Sequence[Sizing], given: Requirements) -> Section:
    quantile = f"first token, {given.objective.quantile:.0%}, s"
    columns = (
        *("model", "prefill, tokens/s", "one stream, tokens/s", "under load, tokens/s"),
        *("carries, requests/s", "busy", "first token, mean, s", quantile),
    )
    return Section("Speed (expected, not measured)", columns, tuple(_speed_row(one) for one in choices))


def _speed_row(one: Sizing) -> tuple[Cell, ...]:
    name, service = one.placement.subject.id, one.service
    if service is None:
        return (name, *[None] * 7)
    return (
        name,
        round(one.prefill_tokens_per_second or 0),
        one.single_tokens_per_second or None,
        service.tokens_per_second or None,
        (one.capacity_per_s or 0) * one.replicas,
        f"{service.utilization:.0%}",
        service.first_token_s,
        service.first_token_quantile_s,
    )


def _machines(plan: Plan) -> Section:
    rows = tuple((one.gpu.name, one.machines, one.bought, one.used) for one in plan.mix.fleets)
    return Section("Machines", ("GPU", "machines", "GPUs bought", "GPUs used"), rows)


def _money(bill: Bill, given: Requirements) -> Section:
    years = f"{given.costs.years:g} years"
    columns = ("purchase", "power, a month", "upkeep, a month", "all, a month", years)
    figures = (bill.purchase, bill.power_per_month, bill.upkeep_per_month, bill.per_month, bill.total)
    return Section("Cost, CNY", columns, (tuple(round(one) for one in figures),))


def _public(plan: Plan) -> Section:
    columns = (
        "model",
        "public API",
        "in, CNY/million",
        "out, CNY/million",
        "million tokens/month",
        "CNY/month",
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            choice.placement.subject.id,
            one.price.name,
            one.price.input_cny,
            one.price.output_cny,
            one.million_tokens_per_month and round(one.million_tokens_per_month),
            one.cny_per_month and round(one.cny_per_month),
        )
        for choice, one in zip(plan.mix.choices, plan.comparisons, strict=True)
        if one is not None
    )
    if len(rows) > 1 and all(row[5] is not None for row in rows):
        volume, money = (sum(float(row[index] or 0) for row in rows) for index in (4, 5))
        rows = (*rows, ("all of these", None, None, None, round(volume), round(money)))
    busy = plan.requirements.costs.busy_share
    return Section(f"The same on the public API, at {busy:.0%} of the peak", columns, rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
    # What does not print could steer the terminal.
    return "".join(sign if sign.isprintable() else "�" for sign in cell).replace("|", "/")

"""The tables behind a plan, to be looked at; the original plan's figures stand beside ours."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.plan import tables
from cluster.plan.report import Cell, Section
from deployments import catalog, memory

_INT4 = "-GPTQ-Int4"


def sections() -> list[Section]:
    """All of them."""
    return [gpus(), models(), prices(), machines(), original_plan()]


def gpus() -> Section:
    """GPUs, the peak of the original plan beside the dense one."""
    columns = (
        *("GPU", "memory, GiB", "nvidia-smi, GiB", "bandwidth, GB/s", "bf16, dense TFLOPS", "original plan"),
        *("fp8, dense", "int8, dense", "power, W", "price, USD", "in", "read at its source", "date"),
    )
    rows = tuple(
        (
            *(one.name, one.memory_gib, one.driver_gib, _whole(one.bandwidth_gb_per_s), one.bf16_tflops),
            *(_whole(one.original_plan_tflops), one.fp8_tflops, one.int8_tflops, _whole(one.power_w)),
            *(_whole(one.price_usd), one.host, "yes" if one.checked else "no", f"{one.date}"),
        )
        for one in tables.gpus().values()
    )
    return Section("GPUs", columns, rows)


def models() -> Section:
    """The catalogue's models: counts that follow from each one's config.json."""
    columns = (
        *("model", "parameters, 10^9", "layers", "heads", "KV heads", "KV cache, KiB/token"),
        *("bf16, GB", "INT4, GB"),
    )
    return Section("Models", columns, tuple(_models()))


def prices() -> Section:
    """What the public API asks."""
    columns = ("public API", "for", "from, 10^9 parameters", "in, CNY/million", "out, CNY/million", "date")
    rows = tuple(
        (one.name, one.kind, one.from_parameters_b, one.input_cny, one.output_cny, f"{one.date}")
        for one in tables.public_prices()
    )
    return Section("Public API", columns, rows)


def machines() -> Section:
    """What GPUs stand in."""
    columns = ("machine", "GPUs", "sold", "price without GPUs, USD", "power without GPUs, W")
    rows = tuple(
        (
            one.name,
            one.gpus,
            "whole" if one.whole else "by the card",
            _whole(one.price_usd),
            _whole(one.power_w),
        )
        for one in tables.machines().values()
    )
    return Section("Machines", columns, rows)


def original_plan() -> Section:
    """The figures that the project was started with, beside what the planner works out."""
    rows = []
    for one in tables.original_plan():
        ours = _ours(one)
        rows.append((one.claim, one.original, f"{ours:,.1f} {one.unit}", f"{one.value / ours - 1:+.0%}"))
    return Section("The original plan", ("figure", "original plan", "planner", "difference"), tuple(rows))


def _models() -> Iterator[tuple[Cell, ...]]:
    for entry in catalog.entries():
        if entry.source.endswith(_INT4):
            continue
        shape = entry.architecture
        published = catalog.find(f"{entry.source}{_INT4}")
        packed = published.architecture if published else memory.quantized(shape)
        yield (
            entry.name,
            shape.parameters() / 1e9,
            shape.num_layers,
            shape.num_attention_heads,
            shape.num_key_value_heads,
            shape.kv_bytes_per_token(1) / 1024,
            memory.checkpoint_bytes(shape) / 1e9,
            memory.checkpoint_bytes(packed) / 1e9,
        )


def _ours(one: tables.OriginalFigure) -> float:
    if one.gpu is not None:
        return tables.gpu(one.gpu).bf16_tflops or 0
    entry = catalog.find(one.model or "")
    assert entry is not None
    return memory.checkpoint_bytes(entry.architecture) / 1e9


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)

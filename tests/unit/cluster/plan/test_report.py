"""A plan as tables, Markdown and JSON."""

from __future__ import annotations

import json

from rich.console import Console

from cluster.plan import plan, report
from cluster.plan.plan import Plan
from tests.unit.cluster.plan.loads import requirements


def made() -> Plan:
    return plan.make(
        requirements({"name": "qwen2.5-72b", "gpu": "A10", "requests_per_second": 2}, {"name": "qwen2.5-7b"})
    )


def test_tables_say_what_the_plan_says() -> None:
    console = Console(width=240, record=True, quiet=True)
    one = made()
    console.quiet = False
    with console.capture() as captured:
        report.print_rich(report.sections(one), list(report.notes(one)), console)
    text = captured.get()
    assert "qwen2.5-72b-instruct" in text
    assert f"{one.mix.choices[0].placement.kv_tokens:,}" in text
    assert "speeds are not measured" in text


def test_markdown_tables_are_regular() -> None:
    one = made()
    text = report.markdown(report.sections(one), list(report.notes(one)))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 10
    widths = [line.count("|") for section in text.split("\n\n") for line in section.splitlines()[:1]]
    assert max(widths) > 0
    for section in report.sections(one):
        assert {len(row) for row in section.rows} == {len(section.columns)}


def test_json_has_the_figures_in_plain_units() -> None:
    one = made()
    content = json.loads(json.dumps(report.as_json(one)))
    model = content["models"][0]
    assert (model["gpu"], model["quantization"], model["tensor_parallel_size"]) == ("A10", "gptq-int4", 4)
    assert model["weights_bytes_per_gpu"] == one.mix.choices[0].placement.memory.weights_bytes
    assert model["gpus"] == model["replicas"] * 4
    assert model["public_api"]["name"] == "qwen-max"
    assert content["cost_cny"]["total"] == round(one.mix.bill.total if one.mix.bill else 0)
    assert content["efficiency"]["bandwidth"] == 0.75


def test_unknown_speed_and_price_are_left_blank() -> None:
    one = plan.make(requirements({"name": "qwen2.5-72b", "gpu": "Ascend-910B", "concurrent": 4}))
    content = report.as_json(one)
    assert content["cost_cny"] is None
    assert content["models"][0]["prefill_tokens_per_second"] is None
    text = report.markdown(report.sections(one), list(report.notes(one)))
    assert "no price or power is known" in text
    assert "Cost, CNY" not in text


def test_break_even_is_set_against_what_the_machines_carry() -> None:
    dear = plan.make(requirements({"name": "qwen2.5-7b", "gpu": "H100", "requests_per_second": 1}))
    busy = plan.make(requirements({"name": "qwen2.5-72b", "gpu": "L40S", "requests_per_second": 20}))
    for one in (dear, busy):
        assert one.break_even_million_tokens is not None
        assert one.carried_million_tokens is not None
        words = "costs less at any volume"
        said = any(words in note for note in report.notes(one))
        assert said == (one.break_even_million_tokens > one.carried_million_tokens)


def test_a_name_cannot_steer_the_terminal_or_break_a_table() -> None:
    section = report.Section("t", ("a",), (("\x1b[2Jx|y",),))
    assert "\x1b" not in report.markdown([section], [])
    assert "x/y" in report.markdown([section], [])

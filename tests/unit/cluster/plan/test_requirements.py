"""Files of requirements: what they may say, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.plan import requirements, tables
from cluster.plan.failure import PlanFailed
from cluster.plan.requirements import Load

ROOT = Path(__file__).resolve().parents[4]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "requirements.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_example_is_read() -> None:
    found = requirements.load(ROOT / "configs/requirements-example.yaml")
    assert len(found.models) >= 4
    assert found.buyable


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "models: [{name: qwen2.5-7b, promt_tokens: 3}]",
            r"models\.0\.promt_tokens: unknown key; did you mean",
        ),
        ("models: []", "models: Tuple should have at least 1 item"),
        (
            "models: [{name: a, requests_per_second: -1}]",
            r"requests_per_second: Input should be greater than 0",
        ),
        ("models: [{name: a}, {name: A}]", "'a' is there twice"),
        ("models: [{name: a}]\ngpu_prices_usd: {A11: 3}", "no GPU 'A11' in the table"),
        ("- a", "Input should be"),
        ("models: [", "is not YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(PlanFailed, match=told):
        requirements.load(written(tmp_path, text))


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanFailed, match="there is no such file"):
        requirements.load(tmp_path / "nothing.yaml")


def test_prices_and_machines_may_be_your_own(tmp_path: Path) -> None:
    text = "models: [{name: qwen2.5-7b}]\ngpu_prices_usd: {A10: 1000}\ngpus_per_machine: {A10: 8}"
    found = requirements.load(written(tmp_path, text))
    gpu = found.gpu("a10")
    assert (gpu.price_usd, found.slots(gpu)) == (1000, 8)
    assert tables.gpu("A10").price_usd != 1000


def test_consumer_cards_are_bought_only_where_they_are_named(tmp_path: Path) -> None:
    unnamed = requirements.load(written(tmp_path, "models: [{name: qwen2.5-7b}]"))
    named = requirements.load(written(tmp_path, "models: [{name: qwen2.5-7b}]\ngpus: [RTX-4090]"))
    assert "RTX-4090" not in {gpu.name for gpu in unnamed.buyable}
    assert [gpu.name for gpu in named.buyable] == ["RTX-4090"]


def test_a_gpu_without_a_price_cannot_be_in_a_mix(tmp_path: Path) -> None:
    found = requirements.load(written(tmp_path, "models: [{name: qwen2.5-7b}]\ngpus: [Ascend-910B]"))
    with pytest.raises(PlanFailed, match="for its memory only"):
        _ = found.buyable


def test_a_load_is_scaled_where_it_is_given() -> None:
    assert Load(requests_per_second=2, concurrent=3).scaled(2) == Load(requests_per_second=4, concurrent=6)
    assert Load().scaled(2) == Load()

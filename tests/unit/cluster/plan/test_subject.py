"""Models by name, and the checkpoints that a split needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.plan import subject
from cluster.plan.failure import PlanFailed
from deployments import split
from deployments.config import ModelKind

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 4096,
    "max_position_embeddings": 4096,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["qwen2.5-72b", "Qwen2.5-72B-Instruct", "Qwen/Qwen2.5-72B-Instruct", "qwen2.5_72b", "qwen/qwen2.5-72b"],
)
def test_short_and_full_names_are_the_same_model(name: str) -> None:
    found = subject.find(name)
    assert (found.source, found.quantization) == ("Qwen/Qwen2.5-72B-Instruct", "none")


@pytest.mark.parametrize("name", ["qwen2.5-72b-gptq-int4", "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4"])
def test_a_name_that_says_int4_is_planned_for_in_int4(name: str) -> None:
    found = subject.find(name)
    assert (found.id, found.quantization) == ("qwen2.5-72b-instruct", "gptq-int4")
    form = found.form(4)
    assert form is not None
    assert form.source == "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4"


def test_int4_by_name_and_none_by_option_contradict() -> None:
    with pytest.raises(PlanFailed, match="is INT4"):
        subject.find("qwen2.5-72b-gptq-int4", "none")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("qwen2.5-72c", "did you mean qwen2.5-72b"),
        ("qwen-72b-chat", "use Qwen/Qwen2.5-72B-Instruct"),
        ("gpt-4", "the catalogue has qwen2.5-0.5b"),
    ],
)
def test_unknown_model_is_told_with_the_nearest(name: str, told: str) -> None:
    with pytest.raises(PlanFailed, match=told):
        subject.find(name)


def test_a_checkpoint_folder_is_read(folder: Path) -> None:
    found = subject.find(str(folder), "gptq-int4")
    assert (found.id, found.kind) == (folder.name, ModelKind.TEXT)
    form = found.form(2)
    assert form is not None
    assert form.made_by == (
        f"qwen-serve quantize {folder} models/{folder.name}-int4-g128-tp2 --group-size 128 "
        "--tensor-parallel-size 2"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"architectures": ["Qwen3MoeForCausalLM"]}, "dense"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "quantized by awq"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_a_folder_that_cannot_be_planned_for_is_refused(
    folder: Path, change: dict[str, object], told: str
) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | change), encoding="utf-8")
    with pytest.raises(PlanFailed, match=told):
        subject.find(str(folder))


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanFailed, match="no such folder"):
        subject.find(str(tmp_path / "nothing"))


@pytest.mark.parametrize("name", ["qwen2.5-0.5b", "qwen2.5-7b", "qwen2.5-14b", "qwen2.5-72b", "qwen3-8b"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_int4_divides_wherever_bf16_does_and_cuts_no_group(name: str, size: int) -> None:
    plain, packed = subject.find(name).form(size), subject.find(name, "gptq-int4").form(size)
    assert (plain is None) == (packed is None)
    if packed is not None:
        assert split.cut_groups(packed.architecture, size, packed.group_size) == []
        assert split.obstacle(packed.architecture, size) is None


def test_14b_over_eight_is_padded_for_whole_groups() -> None:
    form = subject.find("qwen2.5-14b", "gptq-int4").form(8)
    assert form is not None
    assert form.architecture.intermediate_size == 14336
    assert form.made_by is not None

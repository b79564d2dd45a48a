"""What reads a model's source copes with every kind of address."""

from __future__ import annotations

import pytest

from cluster.local.serve_file import ServedModel
from deployments import catalog
from deployments.checkpoint import local_folder
from deployments.checks import problems
from deployments.config import ModelConfig

HUB = "hf://Qwen/Qwen2.5-7B-Instruct"


@pytest.mark.parametrize("source", [HUB, f"{HUB}@v1", "modelscope://Qwen/Qwen2.5-7B-Instruct"])
def test_hub_address_finds_the_catalogues_entry(source: str) -> None:
    entry = catalog.find(source)
    assert entry
    assert entry.source == "Qwen/Qwen2.5-7B-Instruct"


def test_other_owners_model_of_that_name_is_not_the_catalogues() -> None:
    assert catalog.find("hf://somebody/Qwen2.5-7B-Instruct") is None


def test_retired_model_is_told_with_its_revision() -> None:
    assert catalog.successor("hf://Qwen/Qwen-7B-Chat@v1") == "Qwen/Qwen2.5-7B-Instruct"


@pytest.mark.parametrize(
    ("source", "needs_hub"),
    [("s3://models/a", False), (HUB, True), ("modelscope://Qwen/a", False), ("Qwen/a", True)],
)
def test_address_is_no_folder_and_only_the_hubs_need_the_hub(source: str, needs_hub: bool) -> None:
    model = ServedModel("m", "text", source)
    assert model.folder is None
    assert model.needs_hub is needs_hub
    assert local_folder(source) is None


@pytest.mark.parametrize("source", ["s3://x@y/model", "ftp://models/a", "hf://only-a-name"])
def test_address_that_cannot_be_read_is_refused(source: str) -> None:
    model = ModelConfig.model_validate({"id": "m", "source": source, "kind": "text"})
    found = [problem for problem in problems(model, {}) if problem.severity == "error"]
    assert [problem.path for problem in found] == ["source"]

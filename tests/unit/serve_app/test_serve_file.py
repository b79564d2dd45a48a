"""A Serve configuration is read whole, or refused with the place of everything that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.serve_file import ServeFileError, load

ROOT = Path(__file__).resolve().parents[3]


def content() -> dict[str, Any]:
    text = (ROOT / "serve_config.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def problems(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> dict[str, str]:
    file, changed = tmp_path / "config.yaml", content()
    change(changed)
    file.write_text(yaml.safe_dump(changed), encoding="utf-8")
    with pytest.raises(ServeFileError) as refused:
        load(file)
    return {problem.path: problem.message for problem in refused.value.problems}


@pytest.mark.parametrize("name", ["serve_config.yaml", "configs/a100-a10.yaml"])
def test_shipped_configuration_is_sound(name: str) -> None:
    loaded = load(ROOT / name)
    assert not [p for p in loaded.warnings if "no folder here" not in p.message]


def args(changed: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = changed["applications"][0]["args"]
    return found


CASES: list[tuple[Callable[[dict[str, Any]], object], str, str]] = [
    (lambda c: c.update(http_option={}), "http_option", "did you mean 'http_options'?"),
    (lambda c: c["applications"][0].update(routeprefix="/"), "applications[0].routeprefix", "route_prefix"),
    (lambda c: c["http_options"].update(port="many"), "http_options.port", "integer"),
    (lambda c: args(c).update(alias={}), "applications[0].args.alias", "did you mean 'aliases'?"),
    (
        lambda c: args(c)["models"][1].update(max_model_length=5),
        "applications[0].args.models[1].max_model_length",
        "did you mean 'max_model_len'?",
    ),
    (
        lambda c: args(c)["models"][0].update(autoscale={"max_replica": 2}),
        "applications[0].args.models[0].autoscale.max_replica",
        "did you mean 'max_replicas'?",
    ),
    (lambda c: args(c).pop("auth"), "applications[0].args.auth", "required"),
    (
        lambda c: args(c)["models"][0].update(kind="chat"),
        "applications[0].args.models[0].kind",
        "'text', 'vision-language', 'embedding' or 'reranker'",
    ),
    (
        lambda c: args(c)["models"][0].update(accelerator="A10"),
        "applications[0].args.models[0].accelerator",
        "accelerators",
    ),
    (
        lambda c: args(c)["models"][0].update(source="Qwen/Qwen-7B-Chat"),
        "applications[0].args.models[0].source",
        "Qwen2.5-7B-Instruct",
    ),
    (
        lambda c: args(c)["models"][0].update(source="Qwen/Qwen2.5-7B-Instruct", tensor_parallel_size=3),
        "applications[0].args.models[0].tensor_parallel_size",
        "28",
    ),
    (lambda c: c["applications"][0].update(import_path="other:app"), "applications", "import_path"),
    (lambda c: c.update(applications="x"), "applications", "missing"),
]


@pytest.mark.parametrize(("change", "path", "message"), CASES, ids=[case[1] + case[2][:12] for case in CASES])
def test_what_is_wrong_is_named_with_its_path(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], path: str, message: str
) -> None:
    found = problems(tmp_path, change)
    assert message in found[path]


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    def spoil(changed: dict[str, Any]) -> None:
        changed["http_option"] = {}
        args(changed)["models"][0]["kind"] = "chat"
        args(changed)["auth"]["secret"] = "x"

    assert len(problems(tmp_path, spoil)) == 3


@pytest.mark.parametrize("text", ["{", "a: [1", "", "- 1", "\tx: 1"])
def test_file_that_is_no_configuration_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ServeFileError) as refused:
        load(file)
    assert len(str(refused.value).splitlines()) == 1


def test_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ServeFileError, match="no such file"):
        load(tmp_path / "none.yaml")


def test_alias_of_another_kind_is_warned_of(tmp_path: Path) -> None:
    file, changed = tmp_path / "config.yaml", content()
    args(changed)["aliases"]["text-embedding-v3"] = "demo-chat"
    file.write_text(yaml.safe_dump(changed), encoding="utf-8")
    assert any("text-embedding-v3" in problem.path for problem in load(file).warnings)


@pytest.mark.parametrize(
    ("scale", "warned"), [({"min_replicas": 0}, True), ({"max_replicas": 3}, True), ({}, False)]
)
def test_models_that_come_and_go_without_the_fleet_policy_are_warned_of(
    tmp_path: Path, scale: dict[str, int], warned: bool
) -> None:
    file, changed = tmp_path / "config.yaml", content()
    args(changed)["models"][0]["autoscale"] = scale

    def warnings() -> list[str]:
        file.write_text(yaml.safe_dump(changed), encoding="utf-8")
        return [p.message for p in load(file).warnings if p.path == "applications[0].autoscaling_policy"]

    assert warnings() == []
    del changed["applications"][0]["autoscaling_policy"]
    assert bool(warnings()) is warned

"""The manifest survives its file, and a wrong file is told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from quantize.errors import QuantizeError
from quantize.manifest import FILE, Padding, read_manifest, tool_versions
from tests.unit.quantize.manifests import manifest


@pytest.mark.parametrize("padding", [None, Padding(before=29568, after=29696)])
def test_manifest_is_read_back_as_it_was_written(tmp_path: Path, padding: Padding | None) -> None:
    written = manifest(padding=padding)
    written.write(tmp_path)
    assert read_manifest(tmp_path) == written
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["schema_version"] == 1


def test_worst_layers_come_first() -> None:
    worst = manifest().worst(2)
    assert [layer.block for layer in worst] == [2, 2]
    assert worst[0].relative_error > worst[1].relative_error


def test_manifest_does_not_change() -> None:
    with pytest.raises(ValidationError):
        setattr(manifest(), "schema_version", 1)  # noqa: B010  (mypy knows that it is read-only)


def test_folder_without_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match=r"has no manifest\.json; it was not made by qwen-serve quantize"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "place"),
    [({"schema_version": 2}, "schema_version"), ({"extra": 1}, "extra"), ({"sizes": {}}, "sizes")],
)
def test_manifest_of_another_form_is_told_with_the_place(
    tmp_path: Path, change: dict[str, object], place: str
) -> None:
    content = {**json.loads(manifest().model_dump_json()), **change}
    (tmp_path / FILE).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(QuantizeError, match=rf"manifest\.json: {place}") as raised:
        read_manifest(tmp_path)
    assert "\n" not in str(raised.value)


def test_truncated_manifest_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(manifest().model_dump_json()[:-10], encoding="utf-8")
    with pytest.raises(QuantizeError, match="damaged"):
        read_manifest(tmp_path)


def test_versions_are_of_what_is_installed() -> None:
    versions = tool_versions()
    assert {"qwen-serve", "torch", "transformers"} <= set(versions)
    assert all(number[0].isdigit() for number in versions.values())

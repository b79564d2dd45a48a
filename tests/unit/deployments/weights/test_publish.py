"""A folder is published with its manifest last, and the command line does the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployments.weights import WeightsConfig
from deployments.weights.__main__ import main
from deployments.weights.errors import (
    AccessRefused,
    AddressInvalid,
    ManifestInvalid,
    NameUnsafe,
    ObjectMissing,
)
from deployments.weights.manifest import MANIFEST_FILE, Manifest
from deployments.weights.publish import publish
from tests.unit.deployments.weights.bucket import Gate


def test_manifest_goes_last_and_what_is_there_is_not_sent_again(
    config: WeightsConfig, source: str, checkpoint: Path, gate: Gate
) -> None:
    (checkpoint / "config.json").write_text("{}")
    publish(checkpoint, source, config, replace=True)
    changes = [
        (seen.method, seen.path.rpartition("/")[2]) for seen in gate.seen if seen.method in ("PUT", "DELETE")
    ]
    assert changes == [("DELETE", MANIFEST_FILE), ("PUT", "config.json"), ("PUT", MANIFEST_FILE)]


def test_another_model_is_not_replaced_unasked(config: WeightsConfig, source: str, checkpoint: Path) -> None:
    publish(checkpoint, source, config)
    (checkpoint / "config.json").write_text("{}")
    with pytest.raises(ManifestInvalid, match="there is another model; choose a new path, or say --replace"):
        publish(checkpoint, source, config)


def test_refused_upload_names_the_object(
    config: WeightsConfig, bucket: str, checkpoint: Path, gate: Gate
) -> None:
    with (
        gate.breaks(lambda seen: (403, "AccessDenied") if seen.method == "PUT" else None),
        pytest.raises(AccessRefused, match=r"s3://.*/1_Pooling/config\.json: access is denied"),
    ):
        publish(checkpoint, f"s3://{bucket}/m", config)
    with pytest.raises(ObjectMissing, match="no such bucket"):
        publish(checkpoint, "s3://no-such-bucket/m", config)


def test_publishing_elsewhere_than_s3_is_refused(config: WeightsConfig, checkpoint: Path) -> None:
    with pytest.raises(AddressInvalid, match="publish to s3://bucket/model"):
        publish(checkpoint, "hf://Qwen/x", config)


def test_manifest_of_a_folder_follows_linked_files_and_refuses_linked_folders(
    checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "blob").write_bytes(b"blob")
    (checkpoint / "linked").symlink_to(tmp_path / "blob")
    (checkpoint / ".gitattributes").write_text("")
    manifest = Manifest.of_folder(checkpoint)
    assert manifest.files["linked"].size == 4
    assert ".gitattributes" not in manifest.files
    (checkpoint / "dangling").symlink_to(tmp_path / "nothing")
    with pytest.raises(NameUnsafe, match="a link to nothing"):
        Manifest.of_folder(checkpoint)
    (checkpoint / "dangling").unlink()
    (checkpoint / "folder").symlink_to(tmp_path)
    with pytest.raises(NameUnsafe, match="a link to a folder"):
        Manifest.of_folder(checkpoint)


def test_command_line_from_folder_to_cache(
    config: WeightsConfig, bucket: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = ["--endpoint-url", str(config.s3.endpoint_url)]
    address = f"s3://{bucket}/m"
    assert main(["manifest", str(checkpoint)]) == 0
    assert len(json.loads((checkpoint / MANIFEST_FILE).read_bytes())["files"]) == 5
    assert main(["verify", str(checkpoint)]) == 0
    assert main(["publish", *s3, str(checkpoint), address]) == 0
    capsys.readouterr()
    assert main(["fetch", *s3, "--cache-dir", str(tmp_path / "cache"), address]) == 0
    assert (Path(capsys.readouterr().out.strip()) / "config.json").is_file()
    (checkpoint / "merges.txt").write_text("x")
    assert main(["verify", str(checkpoint)]) == 1
    assert capsys.readouterr().out == "merges.txt: 1 bytes, not 0\n"
    assert main(["fetch", *s3, address + "-not"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {address}-not: nothing is there")


def test_manifest_does_not_take_the_place_of_another_file(checkpoint: Path, client: Any) -> None:
    (checkpoint / MANIFEST_FILE).write_text('{"of": "something else"}')
    with pytest.raises(ManifestInvalid, match="rename it"):
        Manifest.of_folder(checkpoint)

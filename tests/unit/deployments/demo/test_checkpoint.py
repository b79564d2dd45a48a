"""A checkpoint folder is complete or absent, and a broken one is not taken for current."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.demo.checkpoint import RECIPE_FILE, CheckpointError, is_current, write_checkpoint


def _fill(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "demo-chat"
    write_checkpoint(folder, "abc", _fill)
    return folder


def test_written_folder_is_current_for_its_digest_only(written: Path) -> None:
    assert is_current(written, "abc")
    assert not is_current(written, "abd")


def test_absent_folder_is_not_current(tmp_path: Path) -> None:
    assert not is_current(tmp_path / "nothing", "abc")


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"weight"),
        lambda folder: (folder / "1_Pooling" / "config.json").write_text("[]"),
        lambda folder: (folder / RECIPE_FILE).unlink(),
        lambda folder: (folder / RECIPE_FILE).write_text("{"),
        lambda folder: (folder / RECIPE_FILE).write_text("[]"),
        lambda folder: (folder / RECIPE_FILE).write_text('{"digest": "abc", "files": {}}'),
    ],
)
def test_broken_folder_is_not_current_and_is_replaced(written: Path, harm: Callable[[Path], object]) -> None:
    harm(written)
    assert not is_current(written, "abc")
    write_checkpoint(written, "abc", _fill)
    assert is_current(written, "abc")


def test_failure_while_filling_leaves_the_old_folder_and_nothing_beside_it(written: Path) -> None:
    def fail(folder: Path) -> None:
        _fill(folder)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        write_checkpoint(written, "new", fail)
    assert is_current(written, "abc")
    assert [path.name for path in written.parent.iterdir()] == ["demo-chat"]


def test_success_leaves_nothing_beside_the_folder(written: Path) -> None:
    write_checkpoint(written, "new", _fill)
    assert is_current(written, "new")
    assert [path.name for path in written.parent.iterdir()] == ["demo-chat"]


def test_unwritable_parent_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="choose another folder with --out"):
        write_checkpoint(tmp_path / "file" / "demo-chat", "abc", _fill)


def test_whoever_serves_it_may_read_it(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        _fill(folder)
        (folder / "model.safetensors").chmod(0o600)

    write_checkpoint(tmp_path / "made", "abc", fill)
    files = [path for path in (tmp_path / "made").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in files)

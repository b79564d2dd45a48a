"""What cannot be quantized: one clear line, exit code 2, the source untouched, nothing at the output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantize.checkpoint import sha256
from quantize.cli import app
from tests.unit.quantize.test_calibration import LONG
from tests.unit.quantize.tiny import write_checkpoint
from tests.unit.quantize.tokenizers import write_tokenizer


def _without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _missing_shard(folder: Path) -> None:
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _unknown_architecture(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["MambaForCausalLM"]}))


def _unchanged(_: Path) -> None:
    pass


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = write_tokenizer(tmp_path / "source")
    return write_checkpoint(folder, vocab_size=300)


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "set.txt"
    path.write_text("\n\n".join(LONG.format(number) for number in range(8)))
    return path


@pytest.mark.parametrize(
    ("spoil", "options", "said"),
    [
        (_without_config, (), "it is no checkpoint"),
        (_missing_shard, (), "is missing, though the index names it"),
        (_truncated, (), "it was cut off, copy it again"),
        (_unknown_architecture, (), "unknown architecture 'MambaForCausalLM'"),
        (_unchanged, ("--bits", "3"), "--bits 3 is not supported"),
        (_unchanged, ("--group-size", "100"), "no INT4 kernel for groups of 100"),
        (_unchanged, ("--group-size", "64"), "add --pad to make it 128"),
        (_unchanged, ("--damp-percent", "2"), "--damp-percent: "),
        (_unchanged, ("--calibration", "{folder}/empty.jsonl"), "is empty; give samples"),
        (_unchanged, ("--calibration", "{folder}/none.jsonl"), "cannot be read"),
        (_unchanged, ("--eval", "{folder}/none.jsonl"), "cannot be read"),
        (_unchanged, ("--max-loss", "much"), "--max-loss much is no share"),
    ],
)
def test_bad_input_is_one_line_and_leaves_all_as_it_was(
    tmp_path: Path,
    source: Path,
    calibration: Path,
    spoil: Callable[[Path], None],
    options: tuple[str, ...],
    said: str,
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    spoil(source)
    before = {path.name: sha256(path) for path in source.iterdir()}
    around = sorted(path.name for path in tmp_path.iterdir())
    given = [option.format(folder=tmp_path) for option in options]
    if "--calibration" not in given:
        given += ["--calibration", str(calibration)]
    if "--group-size" not in given:
        given += ["--group-size", "32"]
    done = CliRunner().invoke(app, ["quantize", str(source), str(tmp_path / "out"), *given])
    assert done.exit_code == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert said in line
    assert {path.name: sha256(path) for path in source.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == around


def test_output_that_exists_is_left_as_it_is(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    done = CliRunner().invoke(app, ["quantize", str(source), str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "exists; give another folder" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_full_disk_is_told_and_the_work_is_kept(tmp_path: Path, source: Path, calibration: Path) -> None:
    """A limit on the size of files stands in for the disk; it needs a process of its own."""
    program = (
        "import resource, signal, sys\n"
        "from quantize.cli import app\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))\n"
        "app(sys.argv[1:])\n"
    )
    options = ["--calibration", str(calibration), "--group-size", "32"]
    command = [sys.executable, "-c", program, "quantize", str(source), str(tmp_path / "out"), *options]
    before = {path.name: sha256(path) for path in source.iterdir()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "start the same command again: it goes on where it stopped" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert {path.name: sha256(path) for path in source.iterdir()} == before

"""A quantization that is killed at random points and started again makes the bytes of one that was not."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from quantize.blocks import quantize_blocks
from quantize.calibration import calibrate
from quantize.checkpoint import Checkpoint, sha256
from quantize.layout import layout_of
from quantize.progress import Progress
from quantize.result import assemble
from quantize.settings import Settings
from quantize.workspace import Workspace
from tests.unit.quantize.test_calibration import LONG
from tests.unit.quantize.tiny import write_checkpoint
from tests.unit.quantize.tokenizers import write_tokenizer

SETTINGS = Settings(group_size=32, samples=16)
BLOCKS = 6
KILLS = 20


def _make(source: Path, calibration: Path, out: Path) -> None:
    """The pipeline without its evaluation, which changes nothing of the weights."""
    torch.set_num_threads(1)
    checkpoint = Checkpoint(source)
    layout = layout_of(checkpoint)
    data = calibrate(calibration, source, SETTINGS)
    workspace = Workspace(out)
    workspace.open({"calibration": data.sha256})
    quantize_blocks(checkpoint, layout, 96, data, SETTINGS, workspace, Progress())
    assemble(workspace, checkpoint, layout, SETTINGS, 96)
    workspace.publish()


def _start(*arguments: Path) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.quantize.test_kills", "gptqmodel.quantization.gptq"])
    process = context.Process(target=_make, args=arguments, daemon=True)
    process.start()
    return process


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tokenizer(tmp_path_factory.mktemp("source"))
    return write_checkpoint(folder, vocab_size=300, num_hidden_layers=BLOCKS)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "set.txt"
    path.write_text("\n\n".join(LONG.format(number) * 3 for number in range(SETTINGS.samples)))
    return path


def test_killed_and_resumed_gives_the_same_bytes(tmp_path: Path, source: Path, calibration: Path) -> None:
    before = _hashes(source)
    whole = tmp_path / "whole"
    first = _start(source, calibration, whole)
    first.join(120)
    began = time.monotonic()
    second = _start(source, calibration, tmp_path / "timed")
    second.join(120)
    span = time.monotonic() - began
    assert (first.exitcode, second.exitcode) == (0, 0)
    random_points = random.Random(7)  # noqa: S311
    out = tmp_path / "killed"
    kills = 0
    while not out.exists() and kills < KILLS:
        process = _start(source, calibration, out)
        process.join(random_points.uniform(0.1, 0.8) * span)
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join(60)
        # Complete or absent, at every point.
        assert not out.exists() or _hashes(out) == _hashes(whole)
    if not out.exists():
        last = _start(source, calibration, out)
        last.join(120)
        assert last.exitcode == 0
    assert kills > 2
    assert _hashes(out) == _hashes(whole) == _hashes(tmp_path / "timed")
    assert _hashes(source) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "timed", "whole"]

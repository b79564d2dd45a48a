"""The pipeline: look first, quantize block by block, measure the loss, only then let the result appear."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quantize import checks, evaluation
from quantize.blocks import quantize_blocks
from quantize.calibration import DEFAULT, Calibration, calibrate
from quantize.card import card
from quantize.checkpoint import Checkpoint
from quantize.evaluation import EvaluationSet, Loss, evaluate, read_set
from quantize.layer_error import LayerError
from quantize.layout import LINEARS, Layout, layout_of
from quantize.machine import check_engine, device_name, free_memory_bytes, peak_memory
from quantize.manifest import CalibrationData, Cost, Manifest, Padding, Sizes, Source, tool_versions
from quantize.plot import plot_errors
from quantize.progress import Progress
from quantize.result import assemble
from quantize.settings import Settings
from quantize.workspace import Workspace, disk_errors

FORMAT: Final = 1
"""To be raised when the code changes what bytes come out; what was begun before is not gone on with then."""


class TooMuchLost(Exception):
    """The result is there to be looked at, but it has lost more than was allowed.

    Attributes:
        loss: What was measured.
    """

    def __init__(self, message: str, loss: Loss) -> None:
        super().__init__(message)
        self.loss = loss


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for.

    Attributes:
        source: Folder of the checkpoint.
        out: Folder of the result, which must not exist.
        settings: How.
        max_loss: Of perplexity and of right answers; 0.02 is 2%.
        calibration: File of the calibration data.
        evaluation: File of the evaluation.
    """

    source: Path
    out: Path
    settings: Settings
    max_loss: float = 0.02
    calibration: Path = DEFAULT
    evaluation: Path = evaluation.DEFAULT


def quantize(job: Job, progress: Progress) -> Manifest:
    """Make an INT4 checkpoint; complete, or none.

    What is finished when it is interrupted is kept beside ``out`` and gone on with by the same job.

    Raises:
        QuantizeError: It cannot be done; nothing has appeared at ``out``.
        TooMuchLost: It was done, and the loss is above ``max_loss``; nothing has appeared at ``out``.
    """
    began = time.monotonic()
    checks.check_free(job.out)
    check_engine()
    checkpoint = Checkpoint(job.source)
    layout = layout_of(checkpoint)
    size = checks.intermediate_size(checkpoint, layout, job.settings)
    items = read_set(job.evaluation)
    calibration = calibrate(job.calibration, job.source, job.settings)
    items.check_apart(calibration.texts)
    needed = checks.need(checkpoint, layout, size, calibration.tokens)
    checks.check_room(needed, job.out, free_memory_bytes(), device_name())
    progress.say(
        f"{layout.blocks} blocks on {device_name()}; calibration: {len(calibration.samples)} samples, "
        f"{calibration.tokens:,} tokens of {calibration.name}"
    )
    workspace = Workspace(job.out)
    try:
        with disk_errors(job.out):
            return _Run(job, checkpoint, layout, size, calibration, items, workspace, progress, began).go()
    finally:
        workspace.close()


@dataclass(slots=True)
class _Run:
    """A quantization after the checks."""

    job: Job
    checkpoint: Checkpoint
    layout: Layout
    size: int
    calibration: Calibration
    items: EvaluationSet
    workspace: Workspace
    progress: Progress
    began: float

    def go(self) -> Manifest:
        """All of it."""
        space, settings = self.workspace, self.job.settings
        if space.open(self._identity()):
            self.progress.say(f"going on with what is finished in {space.folder}")
        hashes = space.noted("source")
        if hashes is None:
            hashes = self.checkpoint.hashes()
            space.note("source", hashes)
        errors = quantize_blocks(
            self.checkpoint, self.layout, self.size, self.calibration, settings, space, self.progress
        )
        assemble(space, self.checkpoint, self.layout, settings, self.size)
        self.progress.say(f"measuring the loss through vLLM with {self.items.name}")
        loss = evaluate(
            self.job.source,
            space.result,
            self.items,
            tensor_parallel_size=settings.tensor_parallel_size,
        )
        manifest = self._manifest(hashes, errors, loss)
        excess = loss.excess(self.job.max_loss)
        if excess:
            raise TooMuchLost(self._too_much(excess, manifest), loss)
        manifest.write(space.result)
        (space.result / "README.md").write_text(card(self.job.out.name, manifest), encoding="utf-8")
        plot_errors(errors, space.result / "layer-error.png", self.job.out.name)
        space.publish()
        return manifest

    def _identity(self) -> dict[str, Any]:
        """What decides the bytes that come out."""
        return {
            "format": FORMAT,
            "source": str(self.job.source.absolute()),
            "files": self.checkpoint.stamp(),
            "settings": self.job.settings.model_dump(),
            "calibration": self.calibration.sha256,
            "tools": tool_versions(),
            "machine": device_name(),
        }

    def _manifest(self, hashes: Mapping[str, str], errors: list[LayerError], loss: Loss) -> Manifest:
        data, peak = self.calibration, peak_memory()
        before = int(self.checkpoint.text_config["intermediate_size"])
        return Manifest(
            source=Source(
                name=self.job.source.absolute().name,
                architecture=self.checkpoint.config["architectures"][0],
                sha256=dict(hashes),
            ),
            tools=tool_versions(),
            settings=self.job.settings,
            padding=Padding(before=before, after=self.size) if before != self.size else None,
            calibration=CalibrationData(
                file=data.name,
                samples=len(data.samples),
                tokens=data.tokens,
                repeated=data.repeated,
                short=data.short,
                sha256=data.sha256,
            ),
            sizes=_sizes(self.checkpoint, Checkpoint(self.workspace.result), self.layout),
            loss=loss,
            layers=tuple(errors),
            cost=Cost(
                machine=device_name(),
                seconds=round(time.monotonic() - self.began, 1),
                peak_host_bytes=peak.host,
                peak_gpu_bytes=peak.gpu,
            ),
        )

    def _too_much(self, excess: str, manifest: Manifest) -> str:
        worst = ", ".join(f"{layer.name} ({layer.relative_error:.1e})" for layer in manifest.worst(3))
        return (
            f"{excess}. Largest errors: {worst}. Try more samples that are like the model's use, a smaller "
            f"--group-size or --desc-act; the same command with a larger --max-loss takes what is there. "
            f"It lies in {self.workspace.result}"
        )


def _sizes(before: Checkpoint, after: Checkpoint, layout: Layout) -> Sizes:
    names = [layout.linear(index, name) for index in range(layout.blocks) for name in LINEARS]
    packed = ("qweight", "qzeros", "scales", "g_idx")
    return Sizes(
        source=before.size_bytes,
        result=after.size_bytes,
        linear_before=sum(before.tensors[f"{name}.weight"].size_bytes for name in names),
        linear_after=sum(after.tensors[f"{name}.{part}"].size_bytes for name in names for part in packed),
    )

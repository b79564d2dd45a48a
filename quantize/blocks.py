"""The blocks, quantized one after the other, each on what the quantized ones before it make of the data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from quantize.calibration import Calibration
from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.layer_error import LayerError
from quantize.layout import LINEARS, STAGES, Layout
from quantize.model import Arguments, StreamedModel
from quantize.progress import Progress
from quantize.settings import Settings
from quantize.solver import Solution, Solver
from quantize.workspace import Workspace


def quantize_blocks(  # noqa: PLR0913, PLR0917  (what the work is made of)
    checkpoint: Checkpoint,
    layout: Layout,
    size: int,
    calibration: Calibration,
    settings: Settings,
    workspace: Workspace,
    progress: Progress,
) -> list[LayerError]:
    """Quantize what is not finished yet.

    Args:
        checkpoint: The source.
        layout: Where it keeps what.
        size: ``intermediate_size``, padding included.
        calibration: What runs through.
        settings: Of the quantization.
        workspace: Where the blocks go.
        progress: Who is told.

    Returns:
        The error of every linear layer, those of blocks that were finished before included.
    """
    first = next((i for i in range(layout.blocks) if not workspace.finished(i)), layout.blocks)
    if first < layout.blocks:
        model = StreamedModel(checkpoint, layout, size, best_device())
        arguments = _enter(model, calibration, workspace, first)
        progress.begin_blocks()
        for index in range(first, layout.blocks):
            began = time.perf_counter()
            errors = _quantize_block(model, index, layout, settings, workspace, arguments)
            worst = max(errors, key=lambda error: error.relative_error)
            seconds = time.perf_counter() - began
            text = f"{seconds:.1f} s, largest error {worst.relative_error:.2e} in {worst.projection}"
            progress.block_done(index + 1, layout.blocks, text)
    return [
        LayerError.model_validate(row)
        for index in range(layout.blocks)
        for row in workspace.noted(_report(index))
    ]


def best_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _enter(
    model: StreamedModel, calibration: Calibration, workspace: Workspace, first: int
) -> list[Arguments]:
    """What goes into the first unfinished block: arguments in memory, hidden states in the workspace."""
    arguments: list[Arguments] = []

    def states() -> Iterator[Tensor]:
        for hidden, more in model.embed(iter(calibration.samples)):
            arguments.append(more)
            yield hidden.cpu()

    if first == 0:
        workspace.write_hidden(0, states())
        return arguments
    if not workspace.has_hidden(first):
        raise QuantizeError(f"{workspace.folder} has lost a part; remove that folder and start again")
    for _ in states():
        pass
    return arguments


def _quantize_block(  # noqa: PLR0913, PLR0917
    model: StreamedModel,
    index: int,
    layout: Layout,
    settings: Settings,
    workspace: Workspace,
    arguments: Sequence[Arguments],
) -> list[LayerError]:
    model.load_block(index)
    solutions: dict[str, Solution] = {}

    def samples() -> Iterator[tuple[Tensor, Arguments]]:
        return zip(workspace.read_hidden(index), arguments, strict=True)

    for stage in STAGES:
        for name, solution in _solve(model, stage, settings, samples()).items():
            model.linear(name).weight.data = solution.weight
            solutions[name] = solution
    errors = [
        LayerError(
            name=layout.linear(index, name),
            projection=name,
            block=index,
            relative_error=solutions[name].relative_error,
            damp_percent=solutions[name].damp_percent,
            seconds=round(solutions[name].seconds, 3),
        )
        for name in LINEARS
    ]
    if index + 1 < layout.blocks:
        workspace.write_hidden(index + 1, (model.run(hidden, more) for hidden, more in samples()))
    workspace.note(_report(index), [error.model_dump() for error in errors])
    workspace.write_block(index, _tensors(model, layout.block(index), solutions))
    return errors


def _solve(
    model: StreamedModel,
    stage: tuple[str, ...],
    settings: Settings,
    samples: Iterator[tuple[Tensor, Arguments]],
) -> dict[str, Solution]:
    """The layers of a stage, which all read the same: what the first reads is measured once for all."""
    leader = Solver(model.linear(stage[0]), settings)
    model.watch(stage[0], leader.see, samples)
    followers = {name: Solver(model.linear(name), settings) for name in stage[1:]}
    for follower in followers.values():
        follower.see_as(leader)
    return {name: solver.solve() for name, solver in {stage[0]: leader, **followers}.items()}


def _tensors(model: StreamedModel, prefix: str, solutions: dict[str, Solution]) -> dict[str, Tensor]:
    """A finished block under the checkpoint's names: packed layers, and norms and biases as they were."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.block.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if layer not in solutions or kind != "weight":
            tensors[prefix + name] = tensor.cpu()
    for layer, solution in solutions.items():
        tensors |= solution.packed.tensors(prefix + layer)
    return tensors


def _report(index: int) -> str:
    return f"block-{index:05}"

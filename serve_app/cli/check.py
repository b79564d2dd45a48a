"""``qwen-serve check``: is this configuration sound, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployments.config import ModelConfig
from deployments.room import Room
from serve_app.cli.console import fail, warn
from serve_app.cli.table import show
from serve_app.config import AppConfig
from serve_app.serve_file import ServeFileError, load

_GIB = 1 << 30
_COLUMNS = (
    "model",
    "GPUs",
    "weights GiB",
    "activations GiB",
    "CUDA graphs GiB",
    "kernels, compiling GiB",
    "KV cache tokens",
    "longest context",
    "configured context",
    "such requests at once",
)


def check(
    file: Annotated[Path, typer.Argument(help="A Serve configuration, such as serve_config.yaml.")],
) -> None:
    """Validate a configuration without starting anything, Ray Serve's own part included."""
    try:
        loaded = load(file)
    except ServeFileError as error:
        fail(str(error))
    for problem in loaded.warnings:
        warn(f"{file}: {problem.path}: {problem.message}")
    app = loaded.app
    typer.echo(f"{file}: ok, {len(app.models)} models, {len(app.aliases)} aliases")
    _show_memory(app)


def _show_memory(app: AppConfig) -> None:
    """What each model with a GPU takes of it, where its size is known."""
    rooms = [(model, Room.find(model, app.accelerators)) for model in app.models]
    rows = [_row(model, room) for model, room in rooms if room is not None]
    if rows:
        typer.echo("\nMemory of each GPU, estimated:")
        show(_COLUMNS, rows)


def _row(model: ModelConfig, room: Room) -> tuple[object, ...]:
    estimate = room.estimate
    return (
        model.id,
        f"{model.tensor_parallel_size} x {model.accelerator}",
        estimate.weights_bytes / _GIB,
        estimate.activation_bytes / _GIB,
        estimate.graph_bytes / _GIB,
        (estimate.kernel_bytes + estimate.compile_bytes) / _GIB,
        room.kv_tokens,
        room.longest_context,
        room.tokens,
        room.kv_tokens / room.tokens,
    )

"""``qwen-serve configure``: a configuration that serves one model, derived from another file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deployments import catalog
from deployments.checkpoint import CheckpointError, local_folder, read_architecture
from deployments.checks import kinds_of
from deployments.config import ModelKind
from serve_app.cli.console import fail
from serve_app.serve_file import IMPORT_PATH, ServeFileError, load

_CPU_CONTEXT_TOKENS = 4096
_CPU_KV_CACHE_BYTES = 1 << 30


def configure_command(
    model: Annotated[str, typer.Argument(help="A checkpoint folder, or the id of a model on the hub.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    base: Annotated[Path, typer.Option(help="The file whose other settings are kept.")] = Path(
        "serve_config.yaml"
    ),
) -> None:
    """Write a configuration that serves one model on this machine."""
    try:
        typer.echo(configure(model, base, out))
    except (ServeFileError, CheckpointError) as error:
        fail(str(error))


def configure(model: str, base: Path, out: Path) -> Path:
    """Write a configuration that serves one model on this machine's CPU.

    Args:
        model: A folder or a hub id.
        base: The file whose other settings are kept.
        out: The file to write.

    Raises:
        ServeFileError: The base is unfit, or the model cannot be served as it is.
        CheckpointError: The folder holds no checkpoint.
    """
    content = load(base).content
    for application in content["applications"]:
        if application.get("import_path") == IMPORT_PATH:
            application["args"]["models"] = [_entry(model)]
            application["args"]["aliases"] = {}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        f"# Written by `qwen-serve configure {model}`.\n" + yaml.safe_dump(content, sort_keys=False),
        encoding="utf-8",
    )
    load(out)
    return out


def _entry(model: str) -> dict[str, Any]:
    entry = catalog.find(model)
    model_id = source = model
    kind, context = ModelKind.TEXT, _CPU_CONTEXT_TOKENS
    if entry is not None:
        kind, context = entry.kind, entry.context_tokens
    if (folder := local_folder(model)) is not None:
        architecture = read_architecture(folder)
        context = architecture.max_position_embeddings
        model_id, source = folder.resolve().name, str(folder.resolve())
        if entry is None:
            kind = kinds_of(architecture.name, architecture)[0]
    return {
        "id": model_id,
        "source": source,
        "kind": kind.value,
        "dtype": "bfloat16" if kind.generates else "auto",
        "max_model_len": min(context, _CPU_CONTEXT_TOKENS),
        "cpu_threads": max(1, (os.cpu_count() or 1) - 1),
        **({"kv_cache_bytes": _CPU_KV_CACHE_BYTES} if kind.generates else {}),
        "engine_kwargs": {"enforce_eager": True},
    }

"""The result's folder: the blocks' files, the tensors that stay as they are, ``config.json``, the rest."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from quantize.checkpoint import Checkpoint
from quantize.layout import Layout
from quantize.settings import Settings
from quantize.workspace import Workspace, write_tensors

_SHARD_BYTES: Final = 4 << 30
_OWN_FILES: Final = ("README.md", "manifest.json")
"""Files of the source that would be taken for the result's own."""


def assemble(
    workspace: Workspace, checkpoint: Checkpoint, layout: Layout, settings: Settings, size: int
) -> None:
    """Put the folder together, from its beginning.

    Args:
        workspace: With all blocks finished.
        checkpoint: The source.
        layout: Where it keeps what.
        settings: Of the quantization.
        size: ``intermediate_size``.
    """
    shutil.rmtree(workspace.result, ignore_errors=True)
    workspace.result.mkdir()
    shards = [workspace.block_file(index) for index in range(layout.blocks)]
    names = list(_unchanged(checkpoint, layout))
    for number, group in enumerate(_groups(checkpoint, names)):
        path = workspace.folder / f"rest-{number:05}.safetensors"
        write_tensors(path, {name: checkpoint.read(name) for name in group})
        shards.append(path)
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        # A second name of the same file: nothing is copied, and the blocks are still there to go on from.
        os.link(shard, workspace.result / name)
        index.update(dict.fromkeys(_names(shard), name))
    total = sum(shard.stat().st_size for shard in shards)
    content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}
    _write_json(workspace.result / "model.safetensors.index.json", content)
    _write_json(workspace.result / "config.json", _config(checkpoint, settings, size))
    for path in checkpoint.other_files():
        if path.name not in _OWN_FILES:
            shutil.copyfile(path, workspace.result / path.name)


def _unchanged(checkpoint: Checkpoint, layout: Layout) -> Iterator[str]:
    blocks = f"{layout.prefix}layers."
    return (name for name in sorted(checkpoint.tensors) if not name.startswith(blocks))


def _groups(checkpoint: Checkpoint, names: list[str]) -> Iterator[list[str]]:
    group: list[str] = []
    filled = 0
    for name in names:
        size = checkpoint.tensors[name].size_bytes
        if group and filled + size > _SHARD_BYTES:
            yield group
            group, filled = [], 0
        group.append(name)
        filled += size
    if group:
        yield group


def _names(shard: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(shard, framework="pt") as file:
        return list(file.keys())


def _config(checkpoint: Checkpoint, settings: Settings, size: int) -> dict[str, Any]:
    config = copy.deepcopy(checkpoint.config)
    text = config["text_config"] if isinstance(config.get("text_config"), dict) else config
    text["intermediate_size"] = size
    if "intermediate_size" in config:  # some vision-language configurations say it twice
        config["intermediate_size"] = size
    config["quantization_config"] = {
        "quant_method": "gptq",
        "bits": settings.bits,
        "group_size": settings.group_size,
        "damp_percent": settings.damp_percent,
        "desc_act": settings.desc_act,
        "sym": True,
        "true_sequential": True,
        "lm_head": False,
        "checkpoint_format": "gptq",
        "meta": {"quantizer": [f"qwen-serve:{version('qwen-serve')}", f"gptqmodel:{version('gptqmodel')}"]},
    }
    return config


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

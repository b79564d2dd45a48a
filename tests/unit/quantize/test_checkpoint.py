from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.layout import layout_of
from tests.unit.quantize.tiny import write_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model")


def _in_two_shards(folder: Path) -> Path:
    """The same tensors over two files with an index."""
    checkpoint = Checkpoint(folder)
    tensors = {name: checkpoint.read(name) for name in checkpoint.tensors}
    halves = [dict(list(tensors.items())[half::2]) for half in (0, 1)]
    index = {}
    for number, half in enumerate(halves, start=1):
        name = f"model-{number:05}-of-00002.safetensors"
        save_file(half, folder / name)
        index.update(dict.fromkeys(half, name))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


def test_shards_hold_what_one_file_held(folder: Path) -> None:
    before = Checkpoint(folder)
    name = "model.layers.1.mlp.down_proj.weight"
    tensor, size = before.read(name), before.size_bytes
    after = Checkpoint(_in_two_shards(folder))
    assert torch.equal(after.read(name), tensor)
    assert after.size_bytes == size
    assert len(after.shards()) == 2


def test_other_files_leave_out_weights_of_any_form(folder: Path) -> None:
    for name in ("tokenizer.json", "pytorch_model.bin", "consolidated.safetensors"):
        (folder / name).write_text("{}")
    assert [path.name for path in Checkpoint(folder).other_files()] == [
        "generation_config.json",
        "tokenizer.json",
    ]


def test_stamp_changes_with_a_file(folder: Path) -> None:
    before = Checkpoint(folder).stamp()
    config = folder / "config.json"
    config.write_text(config.read_text() + "\n")
    assert Checkpoint(folder).stamp() != before


def test_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="no such folder"):
        Checkpoint(tmp_path / "nothing")


def test_folder_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="it is no checkpoint"):
        Checkpoint(tmp_path)


def test_folder_without_weights_says_what_is_wanted(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(QuantizeError, match="save the checkpoint with safetensors"):
        Checkpoint(folder)


def test_missing_shard_is_named(folder: Path) -> None:
    (_in_two_shards(folder) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(QuantizeError, match=r"model-00002-of-00002\.safetensors is missing"):
        Checkpoint(folder)


@pytest.mark.parametrize("kept", [0, 5, 100, 5000, -1])
def test_shard_that_was_cut_off_is_named(folder: Path, kept: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(QuantizeError, match=r"model\.safetensors .*cut off"):
        Checkpoint(folder)


def test_shard_of_something_else_is_told(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 20) + b'{"weight": "a text"}')
    with pytest.raises(QuantizeError, match="damaged header"):
        Checkpoint(folder)


def test_tensor_that_only_the_index_knows_is_named(folder: Path) -> None:
    index = _in_two_shards(folder) / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.ghost.weight"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(QuantizeError, match=r"model\.ghost\.weight is in no shard"):
        Checkpoint(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '"a"'])
def test_broken_config_is_told(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(QuantizeError, match=r"config\.json .*copy the checkpoint again"):
        Checkpoint(folder)


def test_unknown_architecture_is_told_with_those_known(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(QuantizeError, match="unknown architecture 'LlamaForCausalLM'; known are Qwen2"):
        layout_of(Checkpoint(folder))


def test_block_without_a_layer_is_told(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(QuantizeError, match=r"no tensor model\.layers\.3\.self_attn\.q_proj\.weight"):
        layout_of(Checkpoint(folder))


@pytest.mark.parametrize(
    ("architecture", "vision"),
    [("Qwen3ForCausalLM", False), ("Qwen2VLForConditionalGeneration", True)],
)
def test_layout_finds_the_vision_tower(tmp_path: Path, architecture: str, vision: bool) -> None:
    layout = layout_of(Checkpoint(write_checkpoint(tmp_path / "model", architecture)))
    assert (layout.vision_prefix is not None) is vision

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from quantize import checks
from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.layout import LINEARS, Layout, layout_of
from quantize.settings import Settings
from tests.unit.quantize.tiny import write_checkpoint


def _opened(folder: Path) -> tuple[Checkpoint, Layout]:
    checkpoint = Checkpoint(folder)
    return checkpoint, layout_of(checkpoint)


def _size(folder: Path, **settings: Any) -> int:
    return checks.intermediate_size(*_opened(folder), Settings.model_validate({"group_size": 32, **settings}))


def _with(folder: Path, **changes: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model")


def test_sizes_that_divide_are_left_as_they_are(folder: Path) -> None:
    assert _size(folder) == 96


def test_size_that_does_not_divide_is_refused_with_the_padded_one(folder: Path) -> None:
    with pytest.raises(QuantizeError, match=r"96 is no multiple .*32 x 2.*add --pad to make it 128"):
        _size(folder, tensor_parallel_size=2)


def test_padding_is_done_where_it_is_asked_for(folder: Path) -> None:
    assert _size(folder, tensor_parallel_size=2, pad=True) == 128


def test_hidden_size_that_groups_do_not_divide_is_told_with_a_smaller_group(folder: Path) -> None:
    with pytest.raises(QuantizeError, match=r"hidden_size 64 is no multiple of 128 x 1; use --group-size 64"):
        _size(folder, group_size=128)


def test_attention_that_would_be_cut_is_told(folder: Path) -> None:
    with pytest.raises(QuantizeError, match=r"attention's output 64 .*smaller --tensor-parallel-size"):
        _size(folder, tensor_parallel_size=4, pad=True)


def test_heads_that_gpus_do_not_divide_are_told(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "odd", hidden_size=192, num_attention_heads=3, num_key_value_heads=3)
    with pytest.raises(QuantizeError, match="3 attention heads cannot be divided over 2"):
        _size(folder, tensor_parallel_size=2, pad=True)


def test_group_size_that_the_engine_does_not_know_is_told(folder: Path) -> None:
    with pytest.raises(QuantizeError, match="no INT4 kernel for groups of 16; use 32, 64, 128"):
        _size(folder, group_size=16)


def test_quantized_input_is_refused(folder: Path) -> None:
    _with(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(QuantizeError, match="is quantized already; give the bf16 checkpoint"):
        _size(folder)


def test_missing_output_matrix_is_told_unless_embeddings_are_tied(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    rest = {name: checkpoint.read(name) for name in checkpoint.tensors if name != "lm_head.weight"}
    save_file(rest, folder / "model.safetensors")
    with pytest.raises(QuantizeError, match=r"no lm_head\.weight though its embeddings are not tied"):
        _size(folder)
    assert _size(_with(folder, tie_word_embeddings=True)) == 96


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_other_bits_are_refused(bits: int) -> None:
    with pytest.raises(QuantizeError, match=f"--bits {bits} is not supported.*use --bits 4"):
        checks.check_bits(bits)


def test_existing_output_is_never_touched(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="exists; give another folder"):
        checks.check_free(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(QuantizeError, match="exists"):
        checks.check_free(tmp_path / "link")
    with pytest.raises(QuantizeError, match="no such folder"):
        checks.check_free(tmp_path / "nothing" / "out")
    checks.check_free(tmp_path / "out")


def test_full_disk_and_little_memory_give_both_figures(tmp_path: Path) -> None:
    gib = 1024**3
    with pytest.raises(QuantizeError, match=r"GiB free and 1000000\.0 GiB are needed"):
        checks.check_room(checks.Need(disk=10**6 * gib, memory=0), tmp_path / "out", gib, "this machine")
    with pytest.raises(QuantizeError, match=r"this machine has 1\.0 GiB of memory free and about 2\.0 GiB"):
        checks.check_room(checks.Need(disk=0, memory=2 * gib), tmp_path / "out", gib, "this machine")


def test_need_is_no_less_than_what_the_result_takes(folder: Path) -> None:
    checkpoint, layout = _opened(folder)
    linear = 3 * sum(checkpoint.tensors[f"{layout.linear(0, name)}.weight"].size_bytes for name in LINEARS)
    rest = checkpoint.size_bytes - linear
    needed = checks.need(checkpoint, layout, 96, tokens=1000)
    assert needed.disk >= rest + linear * 0.27 + 1000 * 64 * 2
    assert needed.memory > checkpoint.tensors[layout.embedding].size_bytes


def test_figure_that_is_none_is_told(folder: Path) -> None:
    _with(folder, intermediate_size="many")
    with pytest.raises(QuantizeError, match="intermediate_size is 'many'"):
        _size(folder)


def test_float32_checkpoint_has_the_bytes_of_float32(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    checkpoint = Checkpoint(folder)
    save_file(
        {name: checkpoint.read(name).to(torch.float32) for name in checkpoint.tensors},
        folder / "model.safetensors",
    )
    half = checks.need(*_opened(write_checkpoint(tmp_path / "half")), 96, tokens=1000)
    assert checks.need(*_opened(folder), 96, tokens=1000).disk > half.disk

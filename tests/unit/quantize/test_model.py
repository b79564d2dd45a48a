from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.layout import layout_of
from quantize.model import StreamedModel
from tests.unit.quantize.tiny import ARCHITECTURES, write_checkpoint

CPU = torch.device("cpu")


def _sample(architecture: str) -> Mapping[str, Tensor]:
    ids = torch.arange(3, 43).unsqueeze(0)
    if "VL" not in architecture:
        return {"input_ids": ids}
    ids[0, 4:9] = torch.tensor([252, 250, 250, 250, 250])
    kinds = (ids == 250).int()
    pixels = torch.linspace(-1, 1, 16 * 1176).view(16, 1176)
    grid = torch.tensor([[1, 4, 4]])
    return {"input_ids": ids, "pixel_values": pixels, "image_grid_thw": grid, "mm_token_type_ids": kinds}


def _streamed(folder: Path, sample: Mapping[str, Tensor], size: int = 96) -> Tensor:
    checkpoint = Checkpoint(folder)
    layout = layout_of(checkpoint)
    model = StreamedModel(checkpoint, layout, size, CPU)
    ((hidden, arguments),) = model.embed(iter([sample]))
    for index in range(layout.blocks):
        model.load_block(index)
        hidden = model.run(hidden, arguments)
    return hidden


def _whole(folder: Path, sample: Mapping[str, Tensor]) -> Tensor:
    model: Any = AutoModel.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
    language = getattr(model, "language_model", model)
    seen: list[Tensor] = []
    language.norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(**sample, use_cache=False)
    return seen[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_block_by_block_is_the_whole_model_bit_for_bit(tmp_path: Path, architecture: str) -> None:
    folder = write_checkpoint(tmp_path / "model", architecture)
    sample = _sample(architecture)
    assert torch.equal(_streamed(folder, sample), _whole(folder, sample))


def test_padded_block_gives_the_same(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    sample = _sample("Qwen2ForCausalLM")
    padded, plain = _streamed(folder, sample, size=128), _streamed(folder, sample)
    # Sums are taken in another order; no more than the last bits of bfloat16 may differ.
    torch.testing.assert_close(padded, plain, rtol=2**-6, atol=2**-6)


def test_entry_is_let_go_after_the_samples(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "Qwen2VLForConditionalGeneration")
    checkpoint = Checkpoint(folder)
    model = StreamedModel(checkpoint, layout_of(checkpoint), 96, CPU)
    list(model.embed(iter([_sample("Qwen2VLForConditionalGeneration")])))
    left = {name.split(".")[0] for name, _ in model._model.named_parameters()}
    assert left == {"language_model"}
    assert not any("embed" in name for name, _ in model._model.named_parameters())


def test_configuration_of_no_known_model_is_told(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    checkpoint = Checkpoint(folder)
    layout = layout_of(checkpoint)
    (folder / "config.json").write_text('{"model_type": "nothing-known"}')
    with pytest.raises(QuantizeError, match=r"config\.json is not understood"):
        StreamedModel(checkpoint, layout, 96, CPU)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployments import catalog
from deployments.architecture import Quantization, VisionTower
from deployments.checkpoint import CheckpointError, local_folder, longest_context, read_architecture

QWEN2_5_7B: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "model_type": "qwen2",
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
    "vocab_size": 152064,
}
# As published: what the vision_config leaves out is transformers' default.
QWEN2_VL_7B: dict[str, Any] = {
    **QWEN2_5_7B,
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vision_config": {"in_chans": 3, "model_type": "qwen2_vl", "spatial_patch_size": 14},
}


def write(folder: Path, config: object) -> Path:
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("config", "source"),
    [(QWEN2_5_7B, "Qwen/Qwen2.5-7B-Instruct"), (QWEN2_VL_7B, "Qwen/Qwen2-VL-7B-Instruct")],
)
def test_published_config_gives_the_catalogues_architecture(
    config: dict[str, Any], source: str, tmp_path: Path
) -> None:
    entry = catalog.find(source)
    assert entry is not None
    assert read_architecture(write(tmp_path, config)) == entry.architecture


def test_nested_text_config_of_newer_vision_models_is_read(tmp_path: Path) -> None:
    config = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": True,
        "text_config": {**QWEN2_5_7B, "architectures": None, "hidden_size": 256, "num_attention_heads": 4},
        "vision_config": {"depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 4},
    }
    shape = read_architecture(write(tmp_path, config))
    assert shape.name == "Qwen2_5_VLForConditionalGeneration"
    assert (shape.hidden_size, shape.head_dim, shape.tied_embeddings) == (256, 64, True)
    assert shape.vision == VisionTower(depth=2, width=64, intermediate_size=128, num_heads=4, mlp="gated")


def test_missing_key_value_heads_are_as_many_as_attention_heads(tmp_path: Path) -> None:
    config = {key: value for key, value in QWEN2_5_7B.items() if key != "num_key_value_heads"}
    assert read_architecture(write(tmp_path, config)).num_key_value_heads == 28


def test_own_head_size_wins_over_the_quotient(tmp_path: Path) -> None:
    shape = read_architecture(write(tmp_path, {**QWEN2_5_7B, "head_dim": 256}))
    assert (shape.head_dim, shape.attention_size) == (256, 28 * 256)


def test_quantization_is_the_checkpoints_own_word(tmp_path: Path) -> None:
    packed = {"quant_method": "gptq", "bits": 4, "group_size": 64, "desc_act": False, "sym": True}
    shape = read_architecture(write(tmp_path, {**QWEN2_5_7B, "quantization_config": packed}))
    assert shape.quantization == Quantization("gptq", bits=4, group_size=64)


@pytest.mark.parametrize(
    ("scaling", "tokens"),
    [
        ({}, 32768),
        ({"rope_scaling": None}, 32768),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}, 32768),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, 32768),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, 65536),
        (
            {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 16384,
                }
            },
            65536,
        ),
    ],
)
def test_context_follows_rope_scaling(scaling: dict[str, Any], tokens: int) -> None:
    assert longest_context(scaling, 32768) == tokens


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{not json", "is not valid JSON"),
        ("[]", "holds no JSON object"),
        ({}, "names no architecture"),
        ({"architectures": []}, "names no architecture"),
        ({"architectures": ["WhisperDecoder"]}, "unknown architecture 'WhisperDecoder'"),
        ({**QWEN2_5_7B, "hidden_size": None}, "hidden_size is None"),
        ({**QWEN2_5_7B, "num_attention_heads": 0}, "num_attention_heads is 0"),
        ({**QWEN2_5_7B, "vocab_size": "many"}, "vocab_size is 'many'"),
    ],
)
def test_broken_config_says_what_is_wrong_in_one_line(config: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        read_architecture(write(tmp_path, config))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_missing_config_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        read_architecture(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        read_architecture(tmp_path)


def test_hub_ids_and_addresses_are_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_folder("Qwen/Qwen2.5-7B-Instruct") is None
    assert local_folder("s3://bucket/model") is None
    assert local_folder("/models/demo") == Path("/models/demo")
    assert local_folder("./models/demo") == Path("models/demo")
    (tmp_path / "models" / "demo").mkdir(parents=True)
    assert local_folder("models/demo") == Path("models/demo")

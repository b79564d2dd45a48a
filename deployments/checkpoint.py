"""A checkpoint folder, read without loading anything: its ``config.json`` alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployments.architecture import Architecture, Quantization, VisionTower

__all__ = [
    "Architecture",
    "CheckpointError",
    "local_folder",
    "longest_context",
    "read_architecture",
    "read_labels",
]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_KNOWN_ENDINGS = (
    "ForCausalLM",
    "LMHeadModel",
    "ForConditionalGeneration",
    "ForSequenceClassification",
    "Model",
)


class CheckpointError(Exception):
    """A checkpoint folder cannot be read: what is wrong with it and what to do, in one line."""


def local_folder(source: str) -> Path | None:
    """The folder that a model's ``source`` names; None for an id on the hub and for a remote address.

    A relative path of two parts looks like an id on the hub: it is a folder if there is one.
    """
    if "://" in source:
        return None
    folder = Path(source).expanduser()
    if _HUB_ID.fullmatch(source) and not folder.is_dir():
        return None
    return folder


def read_architecture(folder: Path) -> Architecture:
    """Read the shape of the model in a checkpoint folder.

    Raises:
        CheckpointError: No such folder, no ``config.json``, broken JSON, a missing or wrong figure, or an
            architecture of a kind that is not served.
    """
    config = _read_config(folder)
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise CheckpointError(
            f"{folder / 'config.json'} names no architecture; use a checkpoint saved by transformers"
        )
    if not names[0].endswith(_KNOWN_ENDINGS):
        raise CheckpointError(
            f"{folder}: unknown architecture {names[0]!r}; expected a causal language model, a "
            "vision-language model, an encoder or a sequence classifier"
        )
    text = config.get("text_config")
    text = {**config, **text} if isinstance(text, dict) else config
    figures = _Figures(text, folder)
    heads = figures.read("num_attention_heads")
    return Architecture(
        name=names[0],
        hidden_size=figures.read("hidden_size"),
        intermediate_size=figures.read("intermediate_size"),
        num_layers=figures.read("num_hidden_layers"),
        num_attention_heads=heads,
        num_key_value_heads=figures.read("num_key_value_heads", heads),
        head_dim=figures.read("head_dim", figures.read("hidden_size") // heads),
        vocab_size=figures.read("vocab_size"),
        max_position_embeddings=longest_context(text, figures.read("max_position_embeddings")),
        tied_embeddings=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
        quantization=_quantization(config, text),
        vision=_vision(config, folder),
    )


def read_labels(folder: Path) -> tuple[str, ...]:
    """Read the labels of a sequence classifier, in the order of its scores.

    Raises:
        CheckpointError: As above, or it is no sequence classifier.
    """
    config = _read_config(folder)
    names = config.get("architectures")
    if not isinstance(names, list) or not str(names[:1]).endswith("ForSequenceClassification']"):
        raise CheckpointError(
            f"{folder} is no sequence classifier; use a ...ForSequenceClassification checkpoint"
        )
    labels = config.get("id2label")
    if labels is None:
        # What transformers leaves out is its default.
        return ("LABEL_0", "LABEL_1")
    try:
        return tuple(str(labels[key]) for key in sorted(labels, key=int))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'}: id2label is not a mapping of numbers; copy the checkpoint again"
        ) from error


def longest_context(config: Mapping[str, Any], max_position_embeddings: int) -> int:
    """The longest context in tokens after RoPE scaling, as vLLM derives it.

    Args:
        config: A ``config.json``, or overrides of one: transformers' old ``rope_scaling`` or new
            ``rope_parameters``.
        max_position_embeddings: The figure to scale.
    """
    scaling = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(scaling, dict):
        return max_position_embeddings
    form = scaling.get("rope_type", scaling.get("type", "default"))
    factor = scaling.get("factor")
    if form in ("su", "longrope", "llama3", "default", "mrope") or not isinstance(factor, int | float):
        return max_position_embeddings
    original = scaling.get("original_max_position_embeddings", max_position_embeddings)
    return int((original if form == "yarn" else max_position_embeddings) * factor)


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise CheckpointError(
            f"no such folder: {folder}; give a checkpoint folder or the id of a model on the hub"
        )
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} has no config.json; it is not a checkpoint folder") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); copy the checkpoint again") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds no JSON object; copy the checkpoint again")
    return config


class _Figures:
    """The whole numbers of a config, checked one by one."""

    def __init__(self, config: Mapping[str, Any], folder: Path) -> None:
        self._config = config
        self._folder = folder

    def read(self, key: str, default: int | None = None) -> int:
        value = self._config.get(key)
        if value is None:
            value = default
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise CheckpointError(
                f"{self._folder / 'config.json'}: {key} is {value!r}, not a positive whole number; "
                "copy the checkpoint again"
            )
        return value


def _quantization(config: Mapping[str, Any], text: Mapping[str, Any]) -> Quantization | None:
    described = config.get("quantization_config") or text.get("quantization_config")
    if not isinstance(described, dict):
        return None
    bits, group_size = described.get("bits"), described.get("group_size")
    return Quantization(
        method=str(described.get("quant_method", "unknown")).lower(),
        bits=bits if isinstance(bits, int) else None,
        group_size=group_size if isinstance(group_size, int) else None,
    )


def _vision(config: Mapping[str, Any], folder: Path) -> VisionTower | None:
    """The tower; what the config leaves out is the default of Qwen2-VL or Qwen2.5-VL in transformers."""
    vision = config.get("vision_config")
    if not isinstance(vision, dict):
        return None
    figures = _Figures(vision, folder)
    depth, num_heads = figures.read("depth", 32), figures.read("num_heads", 16)
    if config.get("model_type") == "qwen2_vl":
        # Here the key hidden_size is the language model's.
        width = figures.read("embed_dim", 1280)
        return VisionTower(depth, width, width * figures.read("mlp_ratio", 4), num_heads, "plain")
    width = figures.read("hidden_size", 1280)
    return VisionTower(depth, width, figures.read("intermediate_size", 3420), num_heads, "gated")

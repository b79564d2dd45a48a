"""Where a Qwen checkpoint keeps what: the blocks, the linear layers in them, embedding, vision tower."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError

ARCHITECTURES: Final = (
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen2VLForConditionalGeneration",
    "Qwen2_5_VLForConditionalGeneration",
)
"""Architectures that this pipeline has the layout of. Mixtures of experts are not among them."""

STAGES: Final = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
"""The linear layers of a block in the order in which data runs through them; those of a stage read the same
input. Each stage is quantized before the next one's input is measured (true sequential, Frantar et al.)."""

LINEARS: Final = tuple(name for stage in STAGES for name in stage)

_FIRST_BLOCK = re.compile(r"(.*)layers\.0\.self_attn\.q_proj\.weight")
_VISION = re.compile(r"((?:.*\.)?visual\.)patch_embed\..*")


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of a checkpoint's tensors.

    Attributes:
        blocks: Number of transformer blocks.
        prefix: Before ``layers.0...`` and ``embed_tokens.weight``: ``model.`` in most checkpoints,
            ``model.language_model.`` in some vision-language ones.
        vision_prefix: Before the vision tower's tensors; None without one.
    """

    blocks: int
    prefix: str
    vision_prefix: str | None

    def block(self, index: int) -> str:
        """What the tensors of a block begin with."""
        return f"{self.prefix}layers.{index}."

    def linear(self, index: int, name: str) -> str:
        """A linear layer's name without ``.weight``."""
        return self.block(index) + name

    @property
    def embedding(self) -> str:
        """The embedding's weight."""
        return f"{self.prefix}embed_tokens.weight"


def layout_of(checkpoint: Checkpoint) -> Layout:
    """Find the layout.

    Raises:
        QuantizeError: An architecture that is not known, or tensors that its blocks need are missing.
    """
    names = checkpoint.config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if name not in ARCHITECTURES:
        raise QuantizeError(
            f"{checkpoint.folder}: unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}"
        )
    blocks = checkpoint.text_config.get("num_hidden_layers")
    first = [match for match in map(_FIRST_BLOCK.fullmatch, checkpoint.tensors) if match]
    if not isinstance(blocks, int) or blocks < 1 or len(first) != 1:
        raise QuantizeError(
            f"{checkpoint.folder}: its blocks were not found in its tensors; copy the checkpoint again"
        )
    towers = {match[1] for match in map(_VISION.fullmatch, checkpoint.tensors) if match}
    layout = Layout(blocks, first[0][1], min(towers) if towers else None)
    needed = [layout.embedding] + [
        f"{layout.linear(index, linear)}.weight" for index in range(blocks) for linear in LINEARS
    ]
    lost = next((name for name in needed if name not in checkpoint.tensors), None)
    if lost:
        raise QuantizeError(f"{checkpoint.folder} has no tensor {lost}; copy the checkpoint again")
    return layout

"""What a checkpoint's ``config.json`` says of a model's shape, and what follows from it.

Counts are exact for the dense Qwen2 and Qwen3 families (the tests compare them with the published
totals); for other families they are not meant. What they weigh on a GPU is in ``deployments.memory``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MlpForm = Literal["plain", "gated"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the linear layers of a checkpoint are packed.

    Attributes:
        method: As the checkpoint calls it: gptq, awq, compressed-tensors, ...
        bits: Bits of a weight; None where the checkpoint does not say it in one place.
        group_size: Weights per scale; -1 is one scale per column.
    """

    method: str
    bits: int | None = None
    group_size: int | None = None


@dataclass(frozen=True, slots=True)
class VisionTower:
    """The part of a Qwen vision-language model that turns an image into tokens.

    Attributes:
        depth: Transformer blocks.
        width: Hidden size.
        intermediate_size: Size inside a block's MLP.
        num_heads: Attention heads of a block.
        mlp: Qwen2-VL has two matrices and layer norms, Qwen2.5-VL a gate and RMS norms.
        patch_values: Values of one patch: 3 channels x 2 frames x 14 x 14 pixels.
        merged_patches: Patches that become one token.
    """

    depth: int = 32
    width: int = 1280
    intermediate_size: int = 5120
    num_heads: int = 16
    mlp: MlpForm = "plain"
    patch_values: int = 1176
    merged_patches: int = 4

    def parameters(self, hidden_size: int) -> int:
        """Parameters of the tower, its merger into a language model of this hidden size included."""
        width, inner, merged = self.width, self.intermediate_size, self.width * self.merged_patches
        if self.mlp == "gated":
            norm, mlp = width, 3 * width * inner + 2 * inner + width
        else:
            norm, mlp = 2 * width, 2 * width * inner + inner + width
        attention = 4 * width * width + 4 * width
        merger = norm + merged * merged + merged + merged * hidden_size + hidden_size
        return self.patch_values * width + self.depth * (attention + mlp + 2 * norm) + merger


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of a model.

    Attributes:
        name: The class in ``architectures``, such as Qwen2ForCausalLM.
        hidden_size: Width of the residual stream.
        intermediate_size: Size inside a block's MLP.
        num_layers: Transformer blocks.
        num_attention_heads: Query heads.
        num_key_value_heads: Key and value heads (grouped-query attention).
        head_dim: Size of a head; not always ``hidden_size / num_attention_heads``.
        vocab_size: Rows of the embedding.
        max_position_embeddings: Longest context in tokens, scaled by the checkpoint's own RoPE scaling.
        tied_embeddings: Whether the output matrix is the embedding.
        quantization: How the weights are packed; None if they are not.
        vision: The vision tower; None for a model without.
    """

    name: str
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    tied_embeddings: bool = False
    quantization: Quantization | None = None
    vision: VisionTower | None = None

    @property
    def is_dense_qwen(self) -> bool:
        """Whether the counts below hold: a Qwen2 or Qwen3 without experts."""
        return self.name.startswith(("Qwen2", "Qwen3")) and "Moe" not in self.name

    @property
    def has_query_norm(self) -> bool:
        """Whether queries and keys are normed (Qwen3), rather than projected with a bias (Qwen2)."""
        return self.name.startswith("Qwen3")

    @property
    def attention_size(self) -> int:
        """Values that all query heads have together: what the output projection reads."""
        return self.num_attention_heads * self.head_dim

    @property
    def linear_parameters(self) -> int:
        """Weights of the blocks' linear layers: what quantization packs; biases not counted."""
        key_value_size = self.num_key_value_heads * self.head_dim
        attention = 2 * self.hidden_size * (self.attention_size + key_value_size)
        return self.num_layers * (attention + 3 * self.hidden_size * self.intermediate_size)

    def parameters(self, *, output_matrix: bool = True) -> int:
        """All parameters.

        Args:
            output_matrix: Count an output matrix that is not tied; pooling models run without it.
        """
        if self.has_query_norm:
            extra = 2 * self.head_dim  # norms of query and key
        else:
            extra = (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim  # biases
        norms = self.hidden_size + self.num_layers * (2 * self.hidden_size + extra)
        matrices = 2 if output_matrix and not self.tied_embeddings else 1
        vision = self.vision.parameters(self.hidden_size) if self.vision else 0
        return self.linear_parameters + norms + matrices * self.vocab_size * self.hidden_size + vision

    def kv_bytes_per_token(self, tensor_parallel_size: int, *, value_bytes: int = 2) -> int:
        """Bytes of KV cache that a token takes on each GPU, which holds one key/value head at least."""
        heads = max(1, self.num_key_value_heads // tensor_parallel_size)
        return 2 * self.num_layers * heads * self.head_dim * value_bytes

"""How much of a GPU's memory a model takes, worked out from its shape; nothing is loaded.

One estimate serves ``qwen-serve check``, the fleet policy and the planner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from deployments import catalog, split
from deployments.architecture import Architecture, Quantization
from deployments.config import ModelConfig

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineShape:
    """How an engine runs a model.

    Attributes:
        tensor_parallel_size: GPUs that the model is split over.
        value_bytes: Of a weight or activation that is not quantized.
        kv_value_bytes: Of a value in the KV cache; 1 for fp8.
        block_tokens: Tokens of a block of the KV cache; vLLM: 16 on a GPU, 128 on a CPU.
        max_num_batched_tokens: Tokens of one step at most. Default: vLLM 0.29's of a server
            (``EngineArgs.get_batch_defaults``) on GPUs of less than 70 GiB and on every A100.
        max_num_seqs: Requests of one step at most; default: as above.
        cuda_graphs: Whether they are captured (``enforce_eager`` is off).
        output_matrix: Whether there is one; pooling models run without.
        split_vision: False if every GPU has the whole vision tower (``mm_encoder_tp_mode="data"``).
    """

    tensor_parallel_size: int = 1
    value_bytes: int = 2
    kv_value_bytes: int = 2
    block_tokens: int = 16
    max_num_batched_tokens: int = 2048
    max_num_seqs: int = 256
    cuda_graphs: bool = True
    output_matrix: bool = True
    split_vision: bool = True


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What one GPU of a replica holds, bytes.

    Attributes:
        weights_bytes: Of all weights, the vision tower's included.
        vision_bytes: Of the vision tower alone.
        activation_bytes: Peak of a step.
        graph_bytes: CUDA graphs.
        context_bytes: CUDA's own, NCCL's buffers and the allocator's.
        kv_bytes_per_token: Of the KV cache.
        block_tokens: Tokens of a block of the KV cache.
    """

    weights_bytes: int
    vision_bytes: int
    activation_bytes: int
    graph_bytes: int
    context_bytes: int
    kv_bytes_per_token: int
    block_tokens: int

    @property
    def fixed_bytes(self) -> int:
        """All but the KV cache."""
        return self.weights_bytes + self.activation_bytes + self.graph_bytes + self.context_bytes

    def kv_tokens(self, gpu_bytes: int, utilization: float = 0.92) -> int:
        """Tokens of KV cache that are left, in whole blocks; 0 if there is no room.

        Args:
            gpu_bytes: Memory of the GPU, as the driver reports it.
            utilization: Share that the engine may use (``gpu_memory_utilization``).
        """
        # vLLM takes its share of the whole GPU; what it had not allocated itself must fit into the rest.
        usable = min(math.floor(gpu_bytes * utilization), gpu_bytes - self.context_bytes)
        left = usable - (self.fixed_bytes - self.context_bytes)
        return max(0, left // (self.kv_bytes_per_token * self.block_tokens)) * self.block_tokens

    def longest_context(self, gpu_bytes: int, utilization: float = 0.92) -> int:
        """The longest single request, prompt and answer together, that the KV cache holds; tokens."""
        return self.kv_tokens(gpu_bytes, utilization)

    def fits(self, gpu_bytes: int, tokens: int, utilization: float = 0.92) -> bool:
        """Whether a KV cache of so many tokens fits."""
        return self.kv_tokens(gpu_bytes, utilization) >= tokens


def estimate(architecture: Architecture, shape: EngineShape) -> MemoryEstimate:
    """What one GPU holds of a model that an engine runs in that way."""
    size = shape.tensor_parallel_size
    weights = math.ceil(
        architecture.weight_bytes(value_bytes=shape.value_bytes, output_matrix=shape.output_matrix) / size
    )
    tower = architecture.vision.parameters(architecture.hidden_size) if architecture.vision else 0
    vision = tower * shape.value_bytes
    inner = 3 * math.ceil(architecture.intermediate_size / size) + 2 * architecture.hidden_size
    step = shape.max_num_batched_tokens * inner * shape.value_bytes
    logits = shape.max_num_seqs * architecture.vocab_size * 6 if shape.output_matrix else 0
    return MemoryEstimate(
        weights_bytes=weights,
        vision_bytes=math.ceil(vision / size) if shape.split_vision else vision,
        activation_bytes=max(step, logits),
        graph_bytes=512 * _MIB if shape.cuda_graphs else 0,
        context_bytes=512 * _MIB,
        kv_bytes_per_token=architecture.kv_bytes_per_token(size, value_bytes=shape.kv_value_bytes),
        block_tokens=shape.block_tokens,
    )


def checkpoint_bytes(architecture: Architecture, value_bytes: int = 2) -> int:
    """Size of the checkpoint on disk."""
    return math.ceil(architecture.weight_bytes(value_bytes=value_bytes))


def shape_of(model: ModelConfig, architecture: Architecture, entry: catalog.Entry | None) -> EngineShape:
    """How the engine of a configured model runs it."""
    kwargs = {**(entry.engine_kwargs if entry else {}), **model.engine_kwargs}
    value_bytes = 4 if model.dtype == "float32" else 2
    fp8 = "fp8" in str(kwargs.get("kv_cache_dtype", ""))
    max_num_seqs = int(kwargs.get("max_num_seqs") or 256)
    context = model.max_model_len or (entry.context_tokens if entry else architecture.max_position_embeddings)
    return EngineShape(
        tensor_parallel_size=model.tensor_parallel_size,
        value_bytes=value_bytes,
        kv_value_bytes=1 if fp8 else value_bytes,
        block_tokens=int(kwargs.get("block_size") or 16),
        max_num_batched_tokens=int(kwargs.get("max_num_batched_tokens") or min(2048, max_num_seqs * context)),
        max_num_seqs=max_num_seqs,
        cuda_graphs=not kwargs.get("enforce_eager"),
        output_matrix=model.kind.generates,
        split_vision=kwargs.get("mm_encoder_tp_mode") != "data",
    )


def quantized(architecture: Architecture, bits: int = 4, group_size: int = 128) -> Architecture:
    """The GPTQ form of a model, padded where the published one is (29568 -> 29696)."""
    inner = split.padded(architecture.intermediate_size, 1, group_size)
    return replace(
        architecture,
        intermediate_size=29696 if inner == 29568 else inner,
        quantization=Quantization("gptq", bits=bits, group_size=group_size),
    )

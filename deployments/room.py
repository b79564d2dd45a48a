"""The room that a configured model has on its GPUs: what it holds, and what is left for the KV cache."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from deployments import catalog, memory
from deployments.architecture import Architecture
from deployments.checkpoint import CheckpointError, longest_context
from deployments.config import AcceleratorConfig, ModelConfig
from deployments.memory import MemoryEstimate

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Room:
    """On one GPU of a replica.

    Attributes:
        estimate: What it holds, bytes.
        gpu_bytes: Its memory.
        utilization: Share of it that the engine may use.
        kv_cache_bytes: The KV cache's size where it is set; none: what is left.
        tokens: The longest request that the engine is to take.
        possible_tokens: The longest that the model allows.
    """

    estimate: MemoryEstimate
    gpu_bytes: int
    utilization: float
    kv_cache_bytes: int | None
    tokens: int
    possible_tokens: int

    @classmethod
    def of(
        cls,
        model: ModelConfig,
        architecture: Architecture,
        entry: catalog.Entry | None,
        accelerator: AcceleratorConfig,
    ) -> Room | None:
        """Of a configured model; None for one whose size is not known.

        Args:
            model: The model.
            architecture: Its shape.
            entry: What the catalogue knows of it.
            accelerator: Its GPU.
        """
        if not architecture.is_dense_qwen:
            return None
        gpu_bytes = int(accelerator.memory_gib * _GIB)
        share = model.engine_kwargs.get("gpu_memory_utilization")
        possible = longest_context(catalog.overrides(model, entry), architecture.max_position_embeddings)
        shape = memory.shape_of(model, architecture, entry, gpu_bytes)
        return cls(
            estimate=memory.estimate(architecture, shape),
            gpu_bytes=gpu_bytes,
            utilization=share if isinstance(share, float) else memory.UTILIZATION,
            kv_cache_bytes=model.kv_cache_bytes,
            tokens=model.max_model_len or (entry.context_tokens if entry else possible),
            possible_tokens=possible,
        )

    @classmethod
    def find(cls, model: ModelConfig, accelerators: Mapping[str, AcceleratorConfig]) -> Room | None:
        """Of a configured model, looked up; None if it needs no GPU, or its size is not known.

        Args:
            model: The model.
            accelerators: The cluster's GPU machines, by accelerator type.
        """
        accelerator = accelerators.get(model.accelerator or "")
        if accelerator is None or model.simulation is not None:
            return None
        try:
            architecture = catalog.architecture(model.source)
        except CheckpointError:
            return None
        entry = catalog.find(model.source)
        return cls.of(model, architecture, entry, accelerator) if architecture else None

    @property
    def usable_bytes(self) -> int:
        """What the engine has of the GPU."""
        if self.kv_cache_bytes is not None:  # then vLLM does not look at its share
            return self.gpu_bytes - self.estimate.context_bytes
        return int(self.gpu_bytes * self.utilization)

    @property
    def needed_kv_bytes(self) -> int:
        """For one request of full length and the block that is vLLM's own, or as much as is set."""
        if self.kv_cache_bytes is not None:
            return self.kv_cache_bytes
        block = self.estimate.block_tokens
        return (math.ceil(self.tokens / block) + 1) * block * self.estimate.kv_bytes_per_token

    @property
    def left_bytes(self) -> int:
        """For the KV cache; less than 0 where even the rest has no room."""
        held = self.estimate.fixed_bytes - self.estimate.context_bytes
        return self.usable_bytes - held

    @property
    def kv_tokens(self) -> int:
        """Tokens of KV cache."""
        if self.kv_cache_bytes is None:
            return self.estimate.kv_tokens(self.gpu_bytes, self.utilization)
        block_bytes = self.estimate.kv_bytes_per_token * self.estimate.block_tokens
        return self.kv_cache_bytes // block_bytes * self.estimate.block_tokens

    @property
    def memory_tokens(self) -> int:
        """The longest request that the memory allows."""
        if self.left_bytes < (self.kv_cache_bytes or 0):
            return 0
        return max(0, self.kv_tokens - self.estimate.block_tokens)

    @property
    def longest_context(self) -> int:
        """The longest request that both memory and model allow, tokens."""
        return min(self.possible_tokens, self.memory_tokens)

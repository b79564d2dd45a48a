"""How fast an engine can be on a GPU: bytes over bandwidth, operations over peak, times an efficiency.

A decode step reads every weight and the KV cache of every running request once; a prefill multiplies. With
tensor parallelism each layer ends in two all-reduces over the link. Whichever of memory and arithmetic takes
longer decides (S. Williams et al., Roofline, 2009); the link and a fixed time per step come on top.

The efficiencies are assumptions, chosen so that published speeds of vLLM come out within a quarter
(``data/published.yaml``, ``tests/unit/cluster/plan/test_roofline.py``). On your own GPU, measure and replace.
Not counted: a vision tower's own time (its tokens are), padding of INT4 layers (under 4%), speculative
decoding, prefix caching.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import Field, PositiveFloat

from cluster.plan.tables import Gpu
from deployments.architecture import Architecture
from deployments.config import FrozenConfig
from deployments.memory import EngineShape, MemoryEstimate


class Efficiency(FrozenConfig):
    """What part of the peaks an engine reaches."""

    bandwidth: float = Field(0.75, gt=0, le=1, description="Of the memory's bandwidth, in decoding.")
    compute: float = Field(0.5, gt=0, le=1, description="Of the dense peak, in prefill and large batches.")
    link: float = Field(0.6, gt=0, le=1, description="Of the link between GPUs.")
    step_s: PositiveFloat = Field(0.001, description="Scheduling and launching of a step, seconds.")


@dataclass(frozen=True, slots=True)
class Roofline:
    """A model on so many GPUs of a kind.

    Attributes:
        bytes_per_s: Of one GPU's memory, efficiency included.
        flops_per_s: Of all GPUs of the replica, efficiency included.
        link_s_per_byte: Of an all-reduce's bytes; 0 for a single GPU.
        link_s: Least time of an all-reduce; 0 for a single GPU.
        step_s: Fixed time of a step.
        streamed_bytes: Weights that a GPU reads in each step.
        kv_bytes_per_token: Of the cache, on one GPU.
        layer_flops: Of all layers' matrices, for one token.
        output_flops: Of the output matrix, for one token.
        attention_flops: Of all layers' attention, for one token and one token of context.
        layers: Transformer blocks.
        hidden_size: Width of the residual stream.
        chunk_tokens: Prompt tokens of one step at most.
    """

    bytes_per_s: float
    flops_per_s: float
    link_s_per_byte: float
    link_s: float
    step_s: float
    streamed_bytes: int
    kv_bytes_per_token: int
    layer_flops: float
    output_flops: float
    attention_flops: float
    layers: int
    hidden_size: int
    chunk_tokens: int

    def decode_step_s(self, batch: float, context_tokens: float) -> float:
        """Time of a step that makes a token for each of ``batch`` requests with so much context each."""
        read = self.streamed_bytes + batch * context_tokens * self.kv_bytes_per_token
        flops = batch * (self.layer_flops + self.output_flops + self.attention_flops * context_tokens)
        work = max(read / self.bytes_per_s, flops / self.flops_per_s)
        return work + self._link(batch, 1) + self.step_s

    def prefill_s(self, tokens: float) -> float:
        """Time until a prompt has been read, on an engine that does nothing else; vLLM's chunks included."""
        flops = tokens * (self.layer_flops + self.attention_flops * tokens / 2) + self.output_flops
        steps = self.chunks(tokens)
        work = max(steps * self.streamed_bytes / self.bytes_per_s, flops / self.flops_per_s)
        return work + self._link(tokens, steps) + steps * self.step_s

    def busy_prefill_s(self, tokens: float, batch: float, context_tokens: float) -> float:
        """The same among ``batch`` running requests, for whom each chunk makes a token as well."""
        idle = self.decode_step_s(0, context_tokens)
        return self.prefill_s(tokens) + self.chunks(tokens) * (
            self.decode_step_s(batch, context_tokens) - idle
        )

    def chunks(self, tokens: float) -> int:
        """Steps that a prompt takes."""
        return max(1, math.ceil(tokens / self.chunk_tokens))

    def _link(self, tokens: float, steps: int) -> float:
        each = steps * self.link_s + tokens * self.hidden_size * 2 * self.link_s_per_byte
        return 2 * self.layers * each


def roofline(  # noqa: PLR0913  (the model, its engine, the GPU)
    architecture: Architecture,
    shape: EngineShape,
    memory: MemoryEstimate,
    gpu: Gpu,
    efficiency: Efficiency | None = None,
    *,
    flops_of: Architecture | None = None,
) -> Roofline:
    """The roofline of a model as its engine runs it.

    Args:
        architecture: The model.
        shape: How it runs.
        memory: What a GPU holds of it.
        gpu: The GPU; its speed must be known.
        efficiency: Default: the stated assumptions.
        flops_of: The model without what quantization padded; default: ``architecture``.
    """
    assert gpu.bandwidth_gb_per_s is not None
    assert gpu.bf16_tflops is not None
    given, size = efficiency or Efficiency(), shape.tensor_parallel_size
    counted = flops_of or architecture
    table = architecture.vocab_size * architecture.hidden_size
    # A tied table is the output matrix too, and read whole; of the other a step reads some rows.
    unread = 0 if architecture.tied_embeddings else table * shape.value_bytes // size
    around = 2 * (size - 1) / size
    return Roofline(
        bytes_per_s=gpu.bandwidth_gb_per_s * 1e9 * given.bandwidth,
        # INT4 weights are multiplied in 16 bits: their peak is bf16's.
        flops_per_s=gpu.bf16_tflops * 1e12 * size * given.compute,
        link_s_per_byte=around / (gpu.link_gb_per_s * 1e9 * given.link),
        link_s=gpu.link_us * 1e-6 if size > 1 else 0,
        step_s=given.step_s,
        streamed_bytes=max(0, memory.weights_bytes - memory.vision_bytes - unread),
        kv_bytes_per_token=memory.kv_bytes_per_token,
        layer_flops=2 * counted.linear_parameters,
        output_flops=2 * table if shape.output_matrix else 0,
        attention_flops=4 * counted.num_layers * counted.attention_size,
        layers=architecture.num_layers,
        hidden_size=architecture.hidden_size,
        chunk_tokens=shape.max_num_batched_tokens,
    )

"""Where a model can stand: which splits over the GPUs of one machine work, and what room they leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cluster.plan.requirements import DEFAULT_CONTEXT_TOKENS, Load
from cluster.plan.subject import Form, Subject
from cluster.plan.tables import GIB, Gpu
from deployments import catalog, memory, split
from deployments.config import ModelConfig
from deployments.memory import EngineShape, MemoryEstimate

_SIZES = (1, 2, 4, 8)
"""Powers of two: what links and switches are built for. They fill machines without gaps, too."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A replica of a model on so many GPUs of a machine.

    Attributes:
        subject: The model.
        form: Its checkpoint.
        gpu: The GPU.
        config: As the configuration would say it.
        shape: How its engine runs.
        memory: What each GPU holds.
        context_tokens: Longest request that is asked for.
        kv_tokens: Tokens that the KV cache has room for.
    """

    subject: Subject
    form: Form
    gpu: Gpu
    config: ModelConfig
    shape: EngineShape
    memory: MemoryEstimate
    context_tokens: int
    kv_tokens: int

    @property
    def size(self) -> int:
        """GPUs of the replica."""
        return self.config.tensor_parallel_size

    @property
    def longest_context(self) -> int:
        """The longest request that the memory and the model allow."""
        one_less = max(0, self.kv_tokens - self.shape.block_tokens)  # a block is vLLM's own
        return min(one_less, self.subject.architecture.max_position_embeddings)

    def slots(self, request_tokens: int) -> int:
        """Requests of so many tokens that run at the same time."""
        blocks = -(-request_tokens // self.shape.block_tokens)
        usable = self.kv_tokens // self.shape.block_tokens - 1
        return max(0, min(self.shape.max_num_seqs, usable // blocks))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a model cannot stand there.

    Attributes:
        size: GPUs of the replica.
        reason: What is in the way, and what would help; one line.
    """

    size: int
    reason: str


def context_of(subject: Subject, load: Load) -> int:
    """The longest request that is to fit: as asked for, else a usual one that holds the mean request."""
    longest = subject.architecture.max_position_embeddings
    if load.context_tokens is not None:
        return load.context_tokens
    return min(longest, max(DEFAULT_CONTEXT_TOKENS, load.prompt_tokens + load.output_tokens))


def placements(subject: Subject, gpu: Gpu, slots: int, load: Load) -> Iterator[Placement | Refusal]:
    """Every split that a machine with ``slots`` GPUs allows, smallest first, or what is in its way."""
    context = context_of(subject, load)
    longest = subject.architecture.max_position_embeddings
    for size in _SIZES:
        if size > slots:
            break
        form = subject.form(size)
        if form is None:
            yield Refusal(size, _undivided(subject, size))
        elif context > longest:
            yield Refusal(size, f"{context:,} tokens of context are more than the model's {longest:,}")
        else:
            yield _placed(subject, form, gpu, size, context)


def _placed(subject: Subject, form: Form, gpu: Gpu, size: int, context: int) -> Placement | Refusal:
    config = ModelConfig(
        id=subject.id,
        source=form.source,
        kind=subject.kind,
        accelerator=gpu.name,
        tensor_parallel_size=size,
        quantization=form.quantization,
        group_size=form.group_size,
        max_model_len=context,
    )
    entry = catalog.find(form.source) or subject.entry
    shape = memory.shape_of(config, form.architecture, entry, gpu.memory_bytes)
    estimate = memory.estimate(form.architecture, shape)
    kv_tokens = estimate.kv_tokens(gpu.memory_bytes)
    if not estimate.fits(gpu.memory_bytes, context):
        return Refusal(size, _too_large(estimate, gpu, context))
    return Placement(subject, form, gpu, config, shape, estimate, context, kv_tokens)


def _undivided(subject: Subject, size: int) -> str:
    reason = split.obstacle(subject.architecture, size)
    return reason or f"INT4 groups would be cut by a split over {size}; quantize with a smaller group_size"


def _too_large(estimate: MemoryEstimate, gpu: Gpu, context: int) -> str:
    usable = gpu.memory_gib * memory.UTILIZATION
    beside = (estimate.fixed_bytes - estimate.context_bytes - estimate.weights_bytes) / GIB
    cache = context * estimate.kv_bytes_per_token / GIB
    return (
        f"each GPU would hold {estimate.weights_bytes / GIB:.1f} GiB of weights, {beside:.1f} of activations "
        f"and graphs and {cache:.1f} of KV cache for {context:,} tokens, and has {usable:.1f}"
    )

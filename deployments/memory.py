"""How much of a GPU's memory a model takes, worked out from its ``config.json``; nothing is loaded.

One estimate serves ``qwen-serve check``, the fleet policy and the planner. What is exact and what is not:

* Weights: tensor by tensor as vLLM lays them out (``deployments.shard``); equal to what vLLM's engines on
  GPUs logged to 0.1% (vLLM 0.29: 0.3%), and to checkpoint files to 0.1%. For dense Qwen2 and Qwen3 only.
* KV cache: exact. Compared with a real engine's allocation (``tests/integration/test_memory.py``), on a CPU.
* Activations: counted from vLLM's source (``deployments.activations``); without a vision tower, measured.
* CUDA graphs, kernels and the context: assumptions, each with its source beside it.

``tests/gpu/test_memory.py`` compares the whole with a GPU's peak. On one H100 a 7B came out within 1.1%
(docs/decisions/0017); other GPUs, INT4 weights, a vision tower and several GPUs were not measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from deployments import activations, catalog, shard, split
from deployments.architecture import Architecture, Quantization
from deployments.config import ModelConfig

_MIB = 1 << 20
_GIB = 1 << 30
UTILIZATION = 0.92
"""vLLM's default share of a GPU's memory (``CacheConfig.gpu_memory_utilization``)."""

_CONTEXT_BYTES = 512 * _MIB
"""CUDA's context when an engine first looks: 527 MiB on an H100 with driver 580. It differs by both."""

_KERNEL_BYTES = 230 * _MIB
"""Kernels that are loaded after that, which the engine counts: 230 MiB on the same GPU, by vLLM 0.29."""

_COMMUNICATION_BYTES = 384 * _MIB
"""NCCL's buffers and those of vLLM's own all-reduce. An assumption: engines logged 0.30 GiB beside PyTorch on
two L40S (vLLM #15815) and 0.34 to 0.43 GiB on four A100 (vLLM #16570)."""

_LARGE_GPU_BYTES = 70 * _GIB
_PIXELS_PER_TOKEN = 28 * 28
_PADDED_GPUS = 8
_PADDING_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class EngineShape:
    """How an engine runs a model.

    Attributes:
        tensor_parallel_size: GPUs that the model is split over.
        value_bytes: Of a weight or an activation that is not quantized.
        kv_value_bytes: Of a value in the KV cache; 1 for fp8.
        block_tokens: Tokens of a block of the KV cache; vLLM's default is 16 on a GPU and 128 on a CPU.
        max_num_batched_tokens: Tokens of one step at most. Default: vLLM 0.29's of a server on GPUs of less
            than 70 GiB and on every A100 (``EngineArgs.get_batch_defaults``).
        max_num_seqs: Requests of one step at most; default: as above.
        cuda_graphs: Whether they are captured (``enforce_eager`` is off).
        output_matrix: Whether there is one; pooling models run without.
        split_vision: False if every GPU has the whole vision tower (``mm_encoder_tp_mode="data"``).
        image_tokens: Tokens of the largest image.
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
    image_tokens: int = activations.IMAGE_TOKENS


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What one GPU of a replica holds, bytes.

    Attributes:
        weights_bytes: All weights as they lie on the GPU, the vision tower's included.
        vision_bytes: Those of the vision tower alone.
        activation_bytes: Peak of a step, the images that wait for it, and the sampler's counts.
        graph_bytes: CUDA graphs.
        context_bytes: CUDA's own, and buffers for the GPUs' talk among each other.
        kv_bytes_per_token: Of the KV cache.
        block_tokens: Tokens of a block of the KV cache.
        kernel_bytes: Of kernels that load after the context.
        compile_bytes: What compiling takes beyond a step's peak. It passes, but is counted when the KV cache
            gets its size.
    """

    weights_bytes: int
    vision_bytes: int
    activation_bytes: int
    graph_bytes: int
    context_bytes: int
    kv_bytes_per_token: int
    block_tokens: int
    kernel_bytes: int = 0
    compile_bytes: int = 0

    @property
    def fixed_bytes(self) -> int:
        """All but the KV cache."""
        running = self.weights_bytes + self.activation_bytes + self.graph_bytes
        return running + self.context_bytes + self.kernel_bytes + self.compile_bytes

    def kv_tokens(self, gpu_bytes: int, utilization: float = UTILIZATION) -> int:
        """Tokens of KV cache that are left, in whole blocks; 0 if there is no room.

        vLLM takes its share of the whole GPU. What was there before it looks, the context, must fit into the
        rest and does not come off the share (``Worker.init_device`` takes its snapshot after it).

        Args:
            gpu_bytes: Memory of the GPU as its driver reports it.
            utilization: Share that the engine may use (``gpu_memory_utilization``).
        """
        usable = min(math.floor(gpu_bytes * utilization), gpu_bytes - self.context_bytes)
        left = usable - (self.fixed_bytes - self.context_bytes)
        return max(0, left // (self.kv_bytes_per_token * self.block_tokens)) * self.block_tokens

    def longest_context(self, gpu_bytes: int, utilization: float = UTILIZATION) -> int:
        """The longest request, prompt and answer together, that the memory allows; tokens.

        A block less than the KV cache, for one is vLLM's own (``BlockPool.null_block``). The model may allow
        less.
        """
        return max(0, self.kv_tokens(gpu_bytes, utilization) - self.block_tokens)

    def fits(self, gpu_bytes: int, tokens: int, utilization: float = UTILIZATION) -> bool:
        """Whether a request of so many tokens fits."""
        return self.longest_context(gpu_bytes, utilization) >= tokens


def estimate(architecture: Architecture, shape: EngineShape) -> MemoryEstimate:
    """What one GPU holds of a model that an engine runs in that way.

    Args:
        architecture: A dense Qwen2 or Qwen3 (``is_dense_qwen``); for others it is not meant.
        shape: How it runs; a split that vLLM refuses (``deployments.split``) is not noticed.
    """
    size = shape.tensor_parallel_size
    language = shard.language_bytes(
        architecture, size, value_bytes=shape.value_bytes, output_matrix=shape.output_matrix
    )
    vision = 0
    if architecture.vision:
        parts = size if shape.split_vision else 1
        vision = shard.vision_bytes(
            architecture.vision, architecture.hidden_size, parts, value_bytes=shape.value_bytes
        )
    step = activations.Step(size, shape.max_num_batched_tokens, shape.max_num_seqs, shape.value_bytes)
    peak = _activation_bytes(architecture, shape, step)
    compiling = activations.compile_bytes(architecture, step) if shape.cuda_graphs else 0
    return MemoryEstimate(
        weights_bytes=language + vision,
        vision_bytes=vision,
        activation_bytes=peak + (activations.sampler_bytes(architecture, step) if shape.output_matrix else 0),
        graph_bytes=activations.graph_bytes(architecture, step) if shape.cuda_graphs else 0,
        context_bytes=_CONTEXT_BYTES + (_COMMUNICATION_BYTES if size > 1 else 0),
        kv_bytes_per_token=architecture.kv_bytes_per_token(size, value_bytes=shape.kv_value_bytes),
        block_tokens=shape.block_tokens,
        kernel_bytes=_KERNEL_BYTES,
        compile_bytes=max(0, compiling - peak),
    )


def checkpoint_bytes(architecture: Architecture, value_bytes: int = 2) -> int:
    """Size of a checkpoint's tensors on disk; the files' headers, some kilobytes, come on top.

    Args:
        architecture: As for ``estimate``.
        value_bytes: Bytes of a value that is not packed.
    """
    linears = architecture.num_layers * sum(
        shard.checkpoint_tensor_bytes(one, architecture.quantization, value_bytes)
        for one in shard.checkpoint_linears(architecture)
    )
    biases = sum(one.outputs for one in shard.checkpoint_linears(architecture) if one.bias)
    packed = architecture.linear_parameters + architecture.num_layers * biases
    return linears + (architecture.parameters() - packed) * value_bytes


def shape_of(
    model: ModelConfig,
    architecture: Architecture,
    entry: catalog.Entry | None,
    gpu_bytes: int | None = None,
) -> EngineShape:
    """How the engine of a configured model runs it.

    Args:
        model: The model; its ``engine_kwargs`` go before vLLM's defaults.
        architecture: Its shape, for the longest context where none is set.
        entry: What the catalogue knows of it.
        gpu_bytes: Memory of its GPU: on large ones vLLM's defaults are larger; none: they are not.
    """
    kwargs = {**(entry.engine_kwargs if entry else {}), **model.engine_kwargs}
    value_bytes = 4 if model.dtype == "float32" else 2
    context = model.max_model_len or (entry.context_tokens if entry else architecture.max_position_embeddings)
    tokens, requests = _batch_defaults(model, gpu_bytes)
    max_num_seqs = _number(kwargs.get("max_num_seqs"), requests)
    max_tokens = _number(kwargs.get("max_num_batched_tokens"), min(tokens, max_num_seqs * context))
    on_gpu = model.accelerator is not None
    return EngineShape(
        tensor_parallel_size=model.tensor_parallel_size,
        value_bytes=value_bytes,
        kv_value_bytes=1 if "fp8" in str(kwargs.get("kv_cache_dtype", "")) else value_bytes,
        block_tokens=_number(kwargs.get("block_size"), 16 if on_gpu else 128),
        max_num_batched_tokens=max_tokens,
        max_num_seqs=min(max_num_seqs, max_tokens),
        cuda_graphs=on_gpu and not kwargs.get("enforce_eager"),
        output_matrix=model.kind.generates,
        split_vision=kwargs.get("mm_encoder_tp_mode") != "data",
        image_tokens=_image_tokens(kwargs.get("mm_processor_kwargs")),
    )


def quantized(architecture: Architecture, bits: int = 4, group_size: int = 128) -> Architecture:
    """The GPTQ form of a model.

    Padded as the published one is: to whole groups, and to as many on each of eight GPUs where that costs at
    most 1%, which of Qwen's sizes is so for the 72B's 29568 alone (29696).
    """
    inner = split.padded(architecture.intermediate_size, 1, group_size)
    even = split.padded(architecture.intermediate_size, _PADDED_GPUS, group_size)
    return replace(
        architecture,
        intermediate_size=even if even <= inner * (1 + _PADDING_SHARE) else inner,
        quantization=Quantization("gptq", bits=bits, group_size=group_size),
    )


def _activation_bytes(architecture: Architecture, shape: EngineShape, step: activations.Step) -> int:
    """A step, with the images that were made ready for it; or making them ready, if that is more."""
    language = activations.language_bytes(architecture, step, logits=shape.output_matrix)
    if architecture.vision is None:
        return language
    # One image of the largest size at least, or as many as a step has tokens for (``MultiModalBudget``).
    images = max(1, step.tokens // shape.image_tokens) * shape.image_tokens
    tower = activations.vision_bytes(
        architecture.vision,
        step.size if shape.split_vision else 1,
        image_tokens=images,
        value_bytes=shape.value_bytes,
    )
    return max(tower, language + images * architecture.hidden_size * shape.value_bytes)


def _batch_defaults(model: ModelConfig, gpu_bytes: int | None) -> tuple[int, int]:
    """Of ``max_num_batched_tokens`` and ``max_num_seqs``, as ``EngineArgs.get_batch_defaults`` of vLLM."""
    if model.accelerator is None:
        return 2048 * model.tensor_parallel_size, 128 * model.tensor_parallel_size
    if gpu_bytes is None or gpu_bytes < _LARGE_GPU_BYTES or "A100" in model.accelerator.upper():
        return 2048, 256
    return (8192, 1024) if gpu_bytes < 160 * _GIB else (16384, 1024)


def _number(given: object, default: int) -> int:
    return given if isinstance(given, int) and given > 0 else default


def _image_tokens(processor: object) -> int:
    """Of the largest image, which ``mm_processor_kwargs`` may make smaller."""
    if not isinstance(processor, dict):
        return activations.IMAGE_TOKENS
    size = processor.get("size")
    pixels = processor.get("max_pixels") or (size.get("longest_edge") if isinstance(size, dict) else None)
    return max(1, _number(pixels, activations.IMAGE_TOKENS * _PIXELS_PER_TOKEN) // _PIXELS_PER_TOKEN)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deployments import catalog, split
from deployments.architecture import Architecture, Quantization, VisionTower
from deployments.checkpoint import read_architecture
from deployments.config import ModelConfig
from deployments.memory import EngineShape, MemoryEstimate, checkpoint_bytes, estimate, quantized, shape_of

GIB = 1 << 30
MODELS = Path(__file__).parents[3] / "models"
DEMO = ("demo-chat", "demo-embedding", "demo-reranker", "demo-vl")

# "Model loading took" and "Loading model weights took" of vLLM's engines on real GPUs, GiB of each, from its
# issues: 15004 (RTX 3070), 15815 (two L40S), 16570 (four A100).
LOGGED_GIB = [
    ("Qwen/Qwen2.5-7B-Instruct", 1, 14.2487),
    ("Qwen/Qwen2.5-32B-Instruct", 2, 30.7098),
    ("Qwen/Qwen2.5-VL-72B-Instruct", 4, 34.4340),
]

# What ``tests.gpu.engine_peak`` printed of vLLM 0.29 on an H100 with 80 GB, Qwen2.5-7B's shape: tokens and
# requests of a step, then weights, peak under load, all but the KV cache (bytes), tokens of the KV cache.
H100_BYTES = 85017493504
MEASURED = [
    (2048, 256, 15343488000, 15981862912, 17638117888, 1056384),
    (8192, 1024, 15343488000, 17324173312, 18401521152, 1043072),
]


def shape(source: str) -> Architecture:
    found = catalog.find(source)
    assert found is not None, source
    return found.architecture


def configured(source: str, **fields: Any) -> EngineShape:
    given = {"id": "m", "source": source, "kind": "text", "accelerator": "A10"} | fields
    entry = catalog.find(source)
    assert entry is not None
    return shape_of(ModelConfig.model_validate(given), entry.architecture, entry)


@pytest.mark.parametrize(("source", "gpus", "logged_gib"), LOGGED_GIB)
def test_weights_are_those_that_engines_on_gpus_logged(source: str, gpus: int, logged_gib: float) -> None:
    found = estimate(shape(source), EngineShape(tensor_parallel_size=gpus))
    assert found.weights_bytes / GIB == pytest.approx(logged_gib, rel=1e-3)


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row[0]}-{row[1]}")
def test_estimate_is_what_an_engine_on_an_h100_took(row: tuple[int, int, int, int, int, int]) -> None:
    tokens, requests, weights, peak, profiled, kv_tokens = row
    base = shape("Qwen/Qwen2.5-7B-Instruct")
    found = estimate(base, EngineShape(max_num_batched_tokens=tokens, max_num_seqs=requests))
    assert found.weights_bytes == pytest.approx(weights, rel=0.004)
    assert found.weights_bytes + found.activation_bytes == pytest.approx(peak, rel=0.025)
    assert found.fixed_bytes - found.context_bytes == pytest.approx(profiled, rel=0.015)
    assert found.kv_tokens(H100_BYTES) == pytest.approx(kv_tokens, rel=0.005)


def test_without_compiling_nothing_is_set_aside_for_it() -> None:
    base = shape("Qwen/Qwen2.5-7B-Instruct")
    compiled, eager = estimate(base, EngineShape()), estimate(base, EngineShape(cuda_graphs=False))
    assert compiled.compile_bytes > 0
    assert eager.compile_bytes == 0
    assert eager.activation_bytes == compiled.activation_bytes


@pytest.mark.parametrize("name", DEMO)
def test_checkpoint_is_as_large_as_the_file(name: str) -> None:
    file = MODELS / name / "model.safetensors"
    if not file.exists():
        pytest.skip("the demonstration models are made by `make demo`")
    assert checkpoint_bytes(read_architecture(file.parent)) == pytest.approx(file.stat().st_size, rel=0.002)


# The files' sum as the hub lists them, GB.
@pytest.mark.parametrize(("source", "gigabytes"), [("Qwen/Qwen2-VL-7B-Instruct-GPTQ-Int4", 3.98 + 2.94)])
def test_int4_checkpoint_is_as_large_as_the_published_files(source: str, gigabytes: float) -> None:
    assert checkpoint_bytes(shape(source)) / 1e9 == pytest.approx(gigabytes, rel=0.002)


def test_int4_takes_a_quarter_of_bf16_plus_scales() -> None:
    base = shape("Qwen/Qwen2.5-72B-Instruct")
    packed = quantized(base)
    ratio = (4 + 16 / 128 + 4 / 128) / 16  # bits: the weight, its share of a scale and of a zero point
    saved = checkpoint_bytes(replace(packed, quantization=None)) - checkpoint_bytes(packed)
    assert saved == pytest.approx(packed.linear_parameters * 2 * (1 - ratio), rel=1e-3)


def test_quantized_forms_are_the_published_ones() -> None:
    packed = [entry for entry in catalog.entries() if entry.source.endswith("-GPTQ-Int4")]
    assert len(packed) == 10
    for entry in packed:
        assert quantized(shape(entry.source.removesuffix("-GPTQ-Int4"))) == entry.architecture, entry.source


def test_pooling_models_hold_no_output_matrix_and_no_logits() -> None:
    base = shape("Qwen/Qwen3-8B")
    with_matrix, without = estimate(base, EngineShape()), estimate(base, EngineShape(output_matrix=False))
    saved = with_matrix.weights_bytes - without.weights_bytes
    assert saved == pytest.approx(base.vocab_size * base.hidden_size * 2, abs=1 << 20)
    assert without.activation_bytes <= with_matrix.activation_bytes


def test_whole_vision_tower_on_every_gpu_weighs_more() -> None:
    base = shape("Qwen/Qwen2.5-VL-7B-Instruct")
    assert base.vision is not None
    whole = estimate(base, EngineShape(tensor_parallel_size=4, split_vision=False))
    divided = estimate(base, EngineShape(tensor_parallel_size=4))
    parameters = base.vision.parameters(base.hidden_size)
    assert whole.vision_bytes == pytest.approx(2 * parameters, rel=0.01)
    assert divided.vision_bytes == pytest.approx(parameters / 2, rel=0.03)
    assert whole.weights_bytes - divided.weights_bytes == whole.vision_bytes - divided.vision_bytes


def test_key_value_heads_are_copied_where_there_are_fewer_than_gpus() -> None:
    base = shape("Qwen/Qwen2.5-7B-Instruct")  # 4 of them
    per_token = [
        estimate(base, EngineShape(tensor_parallel_size=n)).kv_bytes_per_token for n in (1, 2, 4, 28)
    ]
    assert per_token == [57344, 28672, 14336, 14336]
    assert estimate(base, EngineShape(kv_value_bytes=1)).kv_bytes_per_token == 28672


def test_kv_cache_is_what_the_share_leaves_in_whole_blocks() -> None:
    found = MemoryEstimate(
        weights_bytes=4000,
        vision_bytes=0,
        activation_bytes=500,
        graph_bytes=500,
        context_bytes=300,
        kv_bytes_per_token=10,
        block_tokens=16,
    )
    assert found.fixed_bytes == 5300
    assert found.kv_tokens(10_000, 0.9) == 400 // 16 * 16  # the context fits into the rest
    assert found.kv_tokens(10_000, 1.0) == 470 // 16 * 16  # here it does not
    assert found.longest_context(10_000, 0.9) == 384
    assert found.fits(10_000, 384, 0.9)
    assert not found.fits(10_000, 385, 0.9)
    assert found.kv_tokens(4_000) == 0
    assert found.longest_context(4_000) == 0


def test_engine_arguments_shape_the_engine() -> None:
    found = configured(
        "Qwen/Qwen2-VL-7B-Instruct",
        kind="vision-language",
        tensor_parallel_size=2,
        max_model_len=4096,
        engine_kwargs={
            "max_num_seqs": 32,
            "max_num_batched_tokens": 8192,
            "enforce_eager": True,
            "kv_cache_dtype": "fp8_e4m3",
            "block_size": 32,
            "mm_encoder_tp_mode": "data",
            "mm_processor_kwargs": {"max_pixels": 1280 * 28 * 28},
        },
    )
    assert found == EngineShape(
        tensor_parallel_size=2,
        kv_value_bytes=1,
        block_tokens=32,
        max_num_batched_tokens=8192,
        max_num_seqs=32,
        cuda_graphs=False,
        split_vision=False,
        image_tokens=1280,
    )


def test_engine_defaults_are_vllms() -> None:
    assert configured("Qwen/Qwen2.5-7B-Instruct") == EngineShape()
    assert configured("Qwen/Qwen2.5-7B-Instruct", dtype="float32").kv_value_bytes == 4
    pooling = configured("Qwen/Qwen3-Embedding-0.6B", kind="embedding", accelerator=None)
    assert pooling == EngineShape(block_tokens=128, max_num_seqs=128, cuda_graphs=False, output_matrix=False)


def test_larger_gpus_have_larger_steps() -> None:
    entry = catalog.find("Qwen/Qwen2.5-7B-Instruct")
    assert entry is not None
    for gpu, gib, expected in (
        ("A10", 22.4, (2048, 256)),
        ("A100-80G", 79.1, (2048, 256)),
        ("H100", 79.6, (8192, 1024)),
        ("B200", 178.0, (16384, 1024)),
    ):
        model = ModelConfig.model_validate(
            {"id": "m", "source": entry.source, "kind": "text", "accelerator": gpu}
        )
        found = shape_of(model, entry.architecture, entry, int(gib * GIB))
        assert (found.max_num_batched_tokens, found.max_num_seqs) == expected, gpu


def test_large_images_take_more_than_text() -> None:
    base = shape("Qwen/Qwen2-VL-7B-Instruct")
    largest, small = estimate(base, EngineShape()), estimate(base, EngineShape(image_tokens=1280))
    text = estimate(replace(base, vision=None), EngineShape())
    assert text.activation_bytes < small.activation_bytes < largest.activation_bytes


HEADS = st.sampled_from([(14, 2), (12, 2), (16, 8), (28, 4), (32, 8), (40, 8), (64, 8), (8, 1)])


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Of Qwen's kind, from half a billion parameters to some hundred billions."""
    heads, key_value_heads = draw(HEADS)
    qwen3 = draw(st.booleans())
    vision = draw(st.sampled_from([None, VisionTower(), VisionTower(intermediate_size=3456, mlp="gated")]))
    return Architecture(
        name="Qwen3ForCausalLM" if qwen3 else "Qwen2ForCausalLM",
        hidden_size=128 * draw(st.integers(7, 96)),
        intermediate_size=128 * draw(st.integers(24, 256)),
        num_layers=draw(st.integers(16, 96)),
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        head_dim=draw(st.sampled_from([64, 128])),
        vocab_size=draw(st.sampled_from([151665, 151936, 152064])),
        max_position_embeddings=draw(st.sampled_from([8192, 32768, 131072])),
        tied_embeddings=draw(st.booleans()),
        vision=vision,
    )


SHAPES = st.builds(
    EngineShape,
    max_num_batched_tokens=st.sampled_from([512, 2048, 8192]),
    max_num_seqs=st.sampled_from([16, 64, 256]),
    cuda_graphs=st.booleans(),
    output_matrix=st.booleans(),
)
GPU_BYTES = st.integers(16, 144).map(lambda gib: gib * GIB)


@given(architectures(), SHAPES, GPU_BYTES, st.booleans())
def test_more_gpus_never_fit_less(
    base: Architecture, engine: EngineShape, gpu_bytes: int, packed: bool
) -> None:
    one = quantized(base) if packed else base
    sizes = split.possible_sizes(one, 128 if packed else None, 16)
    fitting = [
        estimate(one, replace(engine, tensor_parallel_size=size)).kv_tokens(gpu_bytes) for size in sizes
    ]
    assert fitting == sorted(fitting), sizes


@given(architectures(), SHAPES, st.sampled_from([32, 64, 128]))
def test_int4_never_needs_more_than_bf16(base: Architecture, engine: EngineShape, group_size: int) -> None:
    packed = quantized(base, group_size=group_size)
    assert estimate(packed, engine).fixed_bytes < estimate(base, engine).fixed_bytes
    assert estimate(packed, engine).kv_bytes_per_token == estimate(base, engine).kv_bytes_per_token
    assert checkpoint_bytes(packed) < checkpoint_bytes(base)


@given(architectures(), SHAPES, st.sampled_from(["num_layers", "hidden_size", "intermediate_size"]))
def test_larger_models_need_more(base: Architecture, engine: EngineShape, field: str) -> None:
    # By more than what the allocator's rounding may hide.
    step = 1 if field == "num_layers" else 1024
    larger = replace(base, **{field: getattr(base, field) + step})
    small, large = estimate(base, engine), estimate(larger, engine)
    assert large.weights_bytes > small.weights_bytes
    assert large.fixed_bytes > small.fixed_bytes
    assert large.activation_bytes >= small.activation_bytes
    assert large.kv_bytes_per_token >= small.kv_bytes_per_token
    assert checkpoint_bytes(larger) > checkpoint_bytes(base)


@given(architectures(), SHAPES, GPU_BYTES, st.integers(1, 200_000))
def test_what_fits_is_what_the_longest_context_says(
    base: Architecture, engine: EngineShape, gpu_bytes: int, tokens: int
) -> None:
    found = estimate(base, engine)
    assume(found.kv_tokens(gpu_bytes) > 0)
    assert found.fits(gpu_bytes, tokens) == (tokens <= found.longest_context(gpu_bytes))
    assert found.kv_tokens(gpu_bytes) % engine.block_tokens == 0
    assert found.kv_tokens(gpu_bytes + GIB) >= found.kv_tokens(gpu_bytes)


def test_quantization_that_is_not_known_counts_as_none() -> None:
    base = shape("Qwen/Qwen3-8B")
    unknown = replace(base, quantization=Quantization("compressed-tensors"))
    assert estimate(unknown, EngineShape()) == estimate(base, EngineShape())
    half = replace(base, quantization=Quantization("fp8"))
    assert estimate(half, EngineShape()).weights_bytes < 0.6 * estimate(base, EngineShape()).weights_bytes

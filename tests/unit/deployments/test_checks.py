from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.checks import Problem, alias_problems, problems
from deployments.config import AcceleratorConfig, ModelConfig
from serve_app.config import AppConfig

CATALOGUE = Path(__file__).parents[3] / "configs" / "a100-a10.yaml"
FLEET = {
    "A10": AcceleratorConfig(gpus_per_node=4, memory_gib=22.4),
    "A100-40G": AcceleratorConfig(gpus_per_node=8, memory_gib=39.4),
    "A100-80G": AcceleratorConfig(gpus_per_node=8, memory_gib=79.1),
}
AVX512 = frozenset({"avx2", "avx512f"})
QWEN2_72B: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "max_position_embeddings": 32768,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "vocab_size": 152064,
}


def check(source: str | Path, **fields: Any) -> list[Problem]:
    given = {"id": "m", "source": str(source), "kind": "text", "accelerator": "A100-80G"} | fields
    return problems(ModelConfig.model_validate(given), FLEET, cpu_flags=AVX512)


def only(found: list[Problem]) -> Problem:
    assert len(found) == 1, found
    return found[0]


def checkpoint(folder: Path, **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(QWEN2_72B | changes), encoding="utf-8")
    return folder


def gptq(group_size: int, bits: int = 4) -> dict[str, Any]:
    return {"quant_method": "gptq", "bits": bits, "group_size": group_size, "desc_act": False, "sym": True}


def production() -> AppConfig:
    file = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
    return AppConfig.model_validate(file["applications"][0]["args"])


def test_production_catalogue_has_no_problem() -> None:
    app = production()
    found = {model.id: problems(model, app.accelerators, cpu_flags=AVX512) for model in app.models}
    assert found == {model.id: [] for model in app.models}
    assert alias_problems(app.aliases, app.models) == []


def test_production_catalogue_has_the_models_asked_for() -> None:
    shapes = {
        (model.source.partition("/")[2], model.accelerator, model.tensor_parallel_size)
        for model in production().models
    }
    assert shapes >= {
        ("Qwen2.5-72B-Instruct-GPTQ-Int4", "A10", 4),
        ("Qwen2.5-32B-Instruct", "A100-80G", 2),
        ("Qwen2.5-7B-Instruct", "A10", 1),
        ("Qwen2-VL-7B-Instruct", "A100-40G", 1),
        ("Qwen2-VL-7B-Instruct-GPTQ-Int4", "A10", 1),
    }


def test_commented_alternatives_of_the_catalogue_have_no_problem() -> None:
    lines = CATALOGUE.read_text(encoding="utf-8").splitlines()
    items = [match[1] for line in lines if (match := re.match(r" +# ((?:- id:|  ).*)", line))]
    models = [ModelConfig.model_validate(model) for model in yaml.safe_load("\n".join(items))]
    assert [model.source for model in models] == ["Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4"]
    accelerators = production().accelerators
    assert [problems(model, accelerators, cpu_flags=AVX512) for model in models] == [[]]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_possible_tensor_parallel_sizes_pass(size: int) -> None:
    assert check("Qwen/Qwen2.5-7B-Instruct", tensor_parallel_size=size) == []


def test_heads_that_do_not_divide_are_refused_with_the_sizes_that_do() -> None:
    problem = only(check("Qwen/Qwen2.5-7B-Instruct", tensor_parallel_size=3))
    assert problem.path == "tensor_parallel_size"
    assert problem.message == (
        "28 attention heads cannot be divided over 3; use tensor_parallel_size 1, 2, 4"
    )


def test_key_value_heads_are_divided_or_copied_evenly(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, num_attention_heads=24, num_key_value_heads=6, head_dim=128)
    problem = only(check(folder, tensor_parallel_size=4, max_model_len=1024, accelerator="A100-80G"))
    assert "6 key/value heads" in problem.message
    assert check(folder, tensor_parallel_size=6, max_model_len=1024) == []


def test_vocabulary_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    shape = {"num_attention_heads": 28, "num_key_value_heads": 1, "intermediate_size": 7 * 1024}
    folder = checkpoint(tmp_path, **shape, hidden_size=3584)
    problem = only(check(folder, tensor_parallel_size=7, max_model_len=1024))
    assert "a vocabulary of 152064, padded to a multiple of 64, cannot be divided over 7" in problem.message
    checkpoint(tmp_path, **shape, hidden_size=3584, vocab_size=7 * 64 * 100 - 1)
    assert check(folder, tensor_parallel_size=7, max_model_len=1024) == []


def test_vision_tower_must_divide_unless_every_gpu_has_all_of_it() -> None:
    fields = {"kind": "vision-language", "tensor_parallel_size": 8, "max_model_len": 4096}
    source = "Qwen/Qwen2.5-VL-7B-Instruct"
    assert "28 attention heads" in only(check(source, **fields)).message
    fields["tensor_parallel_size"] = 4
    assert check(source, **fields) == []


def test_vision_tower_of_3420_does_not_divide_over_eight(tmp_path: Path) -> None:
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    folder = checkpoint(
        tmp_path,
        architectures=["Qwen2_5_VLForConditionalGeneration"],
        model_type="qwen2_5_vl",
        vision_config=vision,
    )
    fields = {"kind": "vision-language", "tensor_parallel_size": 8, "max_model_len": 4096}
    assert "vision tower of 16 heads" in only(check(folder, **fields)).message
    assert check(folder, **fields, engine_kwargs={"mm_encoder_tp_mode": "data"}) == []


def test_more_gpus_than_a_machine_has_are_refused() -> None:
    problem = only(
        check("Qwen/Qwen2.5-32B-Instruct", accelerator="A10", tensor_parallel_size=8, max_model_len=8192)
    )
    assert problem.path == "tensor_parallel_size"
    assert "more than the 4 GPUs of one A10 machine" in problem.message


def test_unknown_accelerator_is_refused_with_the_nearest_name() -> None:
    problem = only(check("Qwen/Qwen2.5-7B-Instruct", accelerator="A100-80"))
    assert problem == Problem(
        "accelerator", "'A100-80' is not in the accelerators table; did you mean 'A100-80G'?"
    )


@pytest.mark.parametrize("size", [2, 4, 8])
def test_published_int4_form_of_72b_divides(size: int) -> None:
    source = "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4"
    assert check(source, quantization="gptq-int4", tensor_parallel_size=size) == []


@pytest.mark.parametrize(
    ("size", "remedies"),
    [
        (2, "pad intermediate_size to 29696 and quantize again, or quantize with group_size 64"),
        (4, "pad intermediate_size to 29696 and quantize again, or quantize with group_size 32"),
        (8, "pad intermediate_size to 29696 and quantize again"),
    ],
)
def test_int4_groups_cut_by_the_split_are_refused_with_remedies(
    size: int, remedies: str, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path, quantization_config=gptq(128))
    fields = {"quantization": "gptq-int4", "max_model_len": 8192}
    problem = only(check(folder, **fields, tensor_parallel_size=size))
    assert problem.path == "tensor_parallel_size"
    assert problem.message == (
        f"intermediate_size 29568 over {size} is {29568 // size}, no multiple of the INT4 group size 128; "
        f"{remedies}, or use tensor_parallel_size 1"
    )
    checkpoint(tmp_path, quantization_config=gptq(128), intermediate_size=29696)
    assert check(folder, **fields, tensor_parallel_size=size) == []


def test_int4_groups_of_the_attention_output_count_too() -> None:
    problem = only(
        check("Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int4", quantization="gptq-int4", tensor_parallel_size=2)
    )
    assert "attention size 896 over 2 is 448" in problem.message
    assert "group_size 64" in problem.message


def test_smaller_groups_make_four_gpus_possible(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, quantization_config=gptq(32))
    fields = {"quantization": "gptq-int4", "group_size": 32, "tensor_parallel_size": 4}
    assert check(folder, **fields, max_model_len=8192) == []


@pytest.mark.parametrize(
    ("packed", "fields", "path", "words"),
    [
        (None, {"quantization": "gptq-int4"}, "quantization", "is not quantized"),
        (gptq(128), {}, "quantization", "set quantization: gptq-int4 and group_size: 128"),
        (gptq(64), {"quantization": "gptq-int4"}, "group_size", "set group_size: 64"),
        (gptq(128, 8), {"quantization": "gptq-int4"}, "quantization", "gptq with 8 bits"),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 128},
            {"quantization": "gptq-int4"},
            "quantization",
            "awq with 4 bits",
        ),
    ],
)
def test_quantization_must_be_what_the_checkpoint_says(
    packed: dict[str, Any] | None, fields: dict[str, Any], path: str, words: str, tmp_path: Path
) -> None:
    changes = {"quantization_config": packed, "intermediate_size": 29696, "num_hidden_layers": 4}
    problem = only(check(checkpoint(tmp_path, **changes), **fields, max_model_len=1024))
    assert (problem.path, problem.severity) == (path, "error")
    assert words in problem.message


def test_unquantized_source_names_the_published_int4_form() -> None:
    found = check("Qwen/Qwen2.5-7B-Instruct", quantization="gptq-int4")
    assert "use Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4" in only(found).message


def test_group_size_without_a_kernel_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, quantization_config=gptq(256), num_hidden_layers=4)
    found = check(folder, quantization="gptq-int4", group_size=256, max_model_len=1024)
    assert [problem.path for problem in found] == ["group_size", "tensor_parallel_size"]
    assert "no INT4 kernel for groups of 256; use 32, 64, 128" in found[0].message


def test_int4_in_float32_is_refused() -> None:
    source = "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4"
    assert only(check(source, quantization="gptq-int4", dtype="float32")).path == "dtype"


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("Qwen/Qwen2-VL-7B-Instruct", "text", "set kind: vision-language"),
        ("Qwen/Qwen2.5-7B-Instruct", "vision-language", "set kind: text"),
        ("Qwen/Qwen2.5-7B-Instruct", "reranker", "gives no scores"),
        ("Qwen/Qwen3-Embedding-4B", "text", "set kind: embedding"),
        ("Qwen/Qwen3-Reranker-4B", "text", "set kind: reranker"),
    ],
)
def test_model_of_another_kind_is_refused(source: str, kind: str, words: str) -> None:
    problem = only(check(source, kind=kind))
    assert (problem.path, problem.severity) == ("kind", "error")
    assert words in problem.message


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("Qwen/Qwen3-Reranker-4B", "reranker"),
        ("Qwen/Qwen3-Embedding-4B", "embedding"),
        ("Qwen/Qwen2-VL-7B-Instruct", "vision-language"),
    ],
)
def test_model_of_its_own_kind_passes(source: str, kind: str) -> None:
    assert check(source, kind=kind) == []


def test_text_model_as_embedder_is_a_warning_only() -> None:
    assert only(check("Qwen/Qwen2.5-7B-Instruct", kind="embedding")).severity == "warning"


def test_sequence_classifier_is_a_reranker(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, architectures=["Qwen2ForSequenceClassification"], num_hidden_layers=2)
    assert check(folder, kind="reranker", max_model_len=512) == []
    assert "set kind: reranker" in only(check(folder, kind="embedding", max_model_len=512)).message


def test_context_beyond_the_models_is_refused() -> None:
    problem = only(check("Qwen/Qwen2.5-7B-Instruct", max_model_len=131072))
    assert problem.path == "max_model_len"
    assert "131072 is more than the 32768 tokens" in problem.message


def test_context_extended_by_yarn_passes() -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    kwargs = {"hf_overrides": {"rope_parameters": yarn}}
    assert check("Qwen/Qwen2.5-7B-Instruct", max_model_len=131072, engine_kwargs=kwargs) == []


def test_unset_context_of_an_unknown_model_is_a_warning(tmp_path: Path) -> None:
    problem = only(check(checkpoint(tmp_path, num_hidden_layers=2)))
    assert (problem.path, problem.severity) == ("max_model_len", "warning")


@pytest.mark.parametrize(
    ("source", "successor"),
    [
        ("Qwen/Qwen-7B-Chat", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen-72B-Chat", "Qwen/Qwen2.5-72B-Instruct"),
        ("Qwen/Qwen-72B-Chat-Int4", "Qwen/Qwen2.5-72B-Instruct"),
        ("/models/Qwen-VL-Chat", "Qwen/Qwen2-VL-7B-Instruct"),
    ],
)
def test_original_generation_is_refused_with_its_successor(source: str, successor: str) -> None:
    problem = only(check(source))
    assert (problem.path, problem.severity) == ("source", "error")
    assert problem.message.endswith(f"use {successor}")


def test_original_generation_is_known_by_its_architecture_too(tmp_path: Path) -> None:
    problem = only(check(checkpoint(tmp_path, architectures=["QWenLMHeadModel"])))
    assert "vLLM dropped after 0.23.0" in problem.message


def test_model_that_nothing_is_known_of_is_a_warning() -> None:
    problem = only(check("someone/their-model"))
    assert (problem.path, problem.severity) == ("source", "warning")


def test_missing_folder_matters_where_the_engine_runs_here() -> None:
    assert only(check("/nowhere/model")).severity == "warning"
    assert only(check("/nowhere/model", accelerator=None)).severity == "error"


def test_known_model_in_a_folder_of_the_cluster_is_checked_by_name() -> None:
    problem = only(check("/nowhere/Qwen2.5-7B-Instruct", tensor_parallel_size=3))
    assert "28 attention heads" in problem.message


def test_broken_checkpoint_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    assert only(check(tmp_path)).severity == "error"


def test_gpu_features_on_a_cpu_are_warnings() -> None:
    fields = {"accelerator": None, "attention_backend": "FLASH_ATTN", "quantization": "gptq-int4"}
    given = {"id": "m", "kind": "text", "source": "Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int4"} | fields
    model = ModelConfig.model_validate(given)
    old = problems(model, {}, cpu_flags=frozenset({"avx2"}))
    assert [(p.path, p.severity) for p in old] == [
        ("attention_backend", "warning"),
        ("quantization", "warning"),
    ]
    assert [p.path for p in problems(model, {}, cpu_flags=AVX512)] == ["attention_backend"]


def test_sleep_is_skipped_on_a_cpu_and_said_so() -> None:
    given = {"id": "m", "kind": "text", "source": "Qwen/Qwen2.5-0.5B-Instruct", "sleep_level": 1}
    [warning] = problems(ModelConfig.model_validate(given), {}, cpu_flags=AVX512)
    assert (warning.path, warning.severity) == ("sleep_level", "warning")
    assert "skipped" in warning.message
    assert check("Qwen/Qwen2.5-7B-Instruct", sleep_level=1) == []


def test_pipeline_stages_are_refused() -> None:
    found = check("Qwen/Qwen2.5-7B-Instruct", engine_kwargs={"pipeline_parallel_size": 2})
    assert only(found).path == "engine_kwargs.pipeline_parallel_size"


def test_errors_come_before_warnings() -> None:
    found = check("/nowhere/model", engine_kwargs={"pipeline_parallel_size": 2})
    assert [problem.severity for problem in found] == ["error", "warning"]


def test_alias_of_the_public_cloud_for_another_kind_is_a_warning() -> None:
    app = production()
    aliases = {"qwen-vl-max": "qwen2.5-7b-instruct", "our-name": "qwen2.5-7b-instruct"}
    problem = only(alias_problems(aliases, app.models))
    assert (problem.path, problem.severity) == ("aliases.qwen-vl-max", "warning")
    assert "vision-language" in problem.message


@pytest.mark.parametrize(
    ("eager", "compiler", "warned"), [(False, None, True), (True, None, False), (False, "x", False)]
)
def test_missing_compiler_is_warned_of_where_the_engine_would_need_it(
    monkeypatch: pytest.MonkeyPatch, eager: bool, compiler: str | None, warned: bool
) -> None:
    monkeypatch.setattr("deployments.checks.shutil.which", lambda _: compiler)
    given = {"id": "m", "source": "Qwen/Qwen2.5-0.5B-Instruct", "kind": "text"}
    config = ModelConfig.model_validate({**given, "engine_kwargs": {"enforce_eager": eager}})
    paths = [problem.path for problem in problems(config, {})]
    assert ("engine_kwargs.enforce_eager" in paths) is warned

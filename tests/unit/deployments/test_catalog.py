from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from deployments import catalog
from deployments.catalog import Entry
from deployments.checks import RETIRED_ARCHITECTURES
from deployments.config import ModelKind

# Totals of the published files as the hub shows them; of the embedding models, as keras-hub counts them.
PUBLISHED_PARAMETERS = {
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-14B-Instruct": 14_770_033_664,
    "Qwen/Qwen2.5-32B-Instruct": 32_763_876_352,
    "Qwen/Qwen2.5-72B-Instruct": 72_706_203_648,
    "Qwen/Qwen2-VL-2B-Instruct": 2_208_985_600,
    "Qwen/Qwen2-VL-7B-Instruct": 8_291_375_616,
    "Qwen/Qwen2-VL-72B-Instruct": 73_405_560_320,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen2.5-VL-32B-Instruct": 33_452_718_336,
    "Qwen/Qwen2.5-VL-72B-Instruct": 73_410_777_344,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-Embedding-0.6B": 595_776_512,
    "Qwen/Qwen3-Embedding-4B": 4_021_774_336,
    "Qwen/Qwen3-Embedding-8B": 8_188_515_328,
}


def entry_of(source: str) -> Entry:
    found = catalog.find(source)
    assert found is not None, source
    return found


def engine_source(module: str) -> ast.Module:
    """The syntax tree of one of vLLM's modules, which takes seconds to import."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], module)
    return ast.parse(path.read_text(encoding="utf-8"))


def keys_of(tree: ast.Module, names: set[str] | None = None) -> set[object]:
    """The constant keys of the dictionaries assigned at the top level, of all or of those named."""
    keys: set[object] = set()
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        named = {target.id for target in targets if isinstance(target, ast.Name)}
        value = getattr(node, "value", None)
        if isinstance(value, ast.Dict) and (names is None or names & named):
            keys |= {key.value for key in value.keys if isinstance(key, ast.Constant)}
    return keys


@pytest.mark.parametrize(("source", "total"), PUBLISHED_PARAMETERS.items())
def test_figures_give_the_published_parameter_count(source: str, total: int) -> None:
    assert entry_of(source).architecture.parameters() == total


def test_only_rerankers_have_no_published_count_to_compare_with() -> None:
    unquantized = {e.source for e in catalog.entries() if e.architecture.quantization is None}
    rerankers = {e.source for e in catalog.entries() if e.kind is ModelKind.RERANKER}
    assert unquantized - PUBLISHED_PARAMETERS.keys() == rerankers


@pytest.mark.parametrize(
    "source",
    [
        "Qwen/Qwen2.5-7B-Instruct",
        "qwen/qwen2.5-7b-instruct",
        "/models/Qwen2.5-7B-Instruct",
        "/models/qwen2.5-7b-instruct/",
        "./Qwen2.5-7B-Instruct",
        "s3://models/Qwen2.5-7B-Instruct",
    ],
)
def test_model_is_found_by_hub_id_folder_and_address(source: str) -> None:
    assert entry_of(source).source == "Qwen/Qwen2.5-7B-Instruct"


@pytest.mark.parametrize("source", ["someone/Qwen2.5-7B-Instruct", "Qwen/Qwen9-1B", "/models/demo", "."])
def test_other_models_are_not_found(source: str) -> None:
    assert catalog.find(source) is None


@pytest.mark.parametrize("family", ["Qwen/Qwen2.5-72B-Instruct", "Qwen/Qwen2-VL-72B-Instruct"])
def test_published_int4_forms_of_72b_are_padded(family: str) -> None:
    assert entry_of(family).architecture.intermediate_size == 29568
    packed = entry_of(f"{family}-GPTQ-Int4").architecture
    assert packed.intermediate_size == 29696
    assert packed.quantization is not None
    assert (packed.quantization.bits, packed.quantization.group_size) == (4, 128)


def test_parsers_follow_the_family() -> None:
    assert entry_of("Qwen/Qwen2.5-7B-Instruct").tool_parser == "hermes"
    assert entry_of("Qwen/Qwen2.5-7B-Instruct").reasoning_parser is None
    assert entry_of("Qwen/Qwen3-8B").reasoning_parser == "qwen3"
    assert entry_of("Qwen/Qwen2-VL-7B-Instruct").tool_parser is None


def test_default_context_is_within_the_models_own() -> None:
    for entry in catalog.entries():
        assert entry.context_tokens <= entry.architecture.max_position_embeddings, entry.source


def test_engine_has_every_architecture_and_parser_of_the_catalogue() -> None:
    supported = keys_of(engine_source("model_executor/models/registry.py"))
    tools = keys_of(engine_source("tool_parsers/__init__.py"))
    reasoning = keys_of(engine_source("reasoning/__init__.py"))
    for entry in catalog.entries():
        assert entry.architecture.name in supported, entry.source
        assert entry.tool_parser is None or entry.tool_parser in tools, entry.source
        assert entry.reasoning_parser is None or entry.reasoning_parser in reasoning, entry.source


def test_engine_dropped_exactly_the_retired_architectures_of_qwen() -> None:
    dropped = keys_of(engine_source("model_executor/models/registry.py"), {"_PREVIOUSLY_SUPPORTED_MODELS"})
    assert {name for name in dropped if str(name).lower().startswith("qwen")} == set(RETIRED_ARCHITECTURES)


def test_successors_are_in_the_catalogue() -> None:
    for name in ("Qwen-7B-Chat", "Qwen-72B-Chat-Int4", "Qwen-VL-Chat", "Qwen-1_8B-Chat", "Qwen-14B-Chat"):
        successor = catalog.successor(f"Qwen/{name}")
        assert successor is not None
        assert catalog.find(successor) is not None
    assert catalog.successor("Qwen/Qwen2.5-7B-Instruct") is None


def test_reranker_prompt_is_the_one_it_was_trained_with() -> None:
    kwargs = entry_of("Qwen/Qwen3-Reranker-0.6B").engine_kwargs
    # As transformers compiles chat templates.
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        kwargs["chat_template"]
    )
    messages = [{"role": "query", "content": "What is Ray?"}, {"role": "document", "content": "A framework."}]
    head = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
        'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    tail = (
        "\n<Query>: What is Ray?\n<Document>: A framework.<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    web = "Given a web search query, retrieve relevant passages that answer the query"
    assert template.render(messages=messages) == f"{head}<Instruct>: {web}{tail}"
    assert template.render(messages=messages, instruction="Find it") == f"{head}<Instruct>: Find it{tail}"
    assert kwargs["hf_overrides"]["classifier_from_token"] == ["no", "yes"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("qwen-max", ModelKind.TEXT),
        ("qwen-max-latest", ModelKind.TEXT),
        ("qwen-plus-2025-04-28", ModelKind.TEXT),
        ("qwen-max-0919", ModelKind.TEXT),
        ("qwen-vl-max-2025-08-13", ModelKind.VISION_LANGUAGE),
        ("qwen2.5-vl-7b-instruct", ModelKind.VISION_LANGUAGE),
        ("qwen3-32b", ModelKind.TEXT),
        ("text-embedding-v3", ModelKind.EMBEDDING),
        ("gte-rerank-v2", ModelKind.RERANKER),
        ("our-own-name", None),
    ],
)
def test_public_names_tell_the_kind_of_model(name: str, kind: ModelKind | None) -> None:
    assert catalog.public_kind(name) is kind

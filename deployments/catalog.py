"""The Qwen family as data: shapes, contexts, parsers, and the names that the public cloud gives it.

Source of the figures: the ``config.json`` published with each model. The parameter counts that follow from
them equal the published totals to the last digit (``tests/unit/deployments/test_catalog.py``), vision towers
included. The published INT4 forms of the 72B models have ``intermediate_size`` 29696, padded from 29568, so
that the groups divide over 2, 4 and 8 GPUs (QwenLM/Qwen3#578, QwenLM/Qwen3-VL#231).

Default contexts are what is safe, not what is possible: 32768 tokens for generating models (longer needs
RoPE scaling or costs quality), 8192 for embeddings and rerankers (what the public cloud's take).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.architecture import Architecture, Quantization, VisionTower
from deployments.checkpoint import local_folder, read_architecture
from deployments.config import ModelConfig, ModelKind

_GENERATION_TOKENS = 32768
_POOLING_TOKENS = 8192
_HUBS = ("hf", "modelscope")
_INT4 = Quantization("gptq", bits=4, group_size=128)


@dataclass(frozen=True)
class Entry:
    """What is known of a published model.

    Attributes:
        source: Its id on the hub.
        kind: What it is made for.
        architecture: Its shape and quantization.
        context_tokens: Default of ``max_model_len``.
        tool_parser: vLLM's parser of its tool calls; None if its chat template has no tools.
        reasoning_parser: vLLM's parser of its reasoning; None if it does not reason.
        trust_remote_code: Whether it needs code of its own from the hub.
        engine_kwargs: Further arguments that vLLM's engine needs for it.
    """

    source: str
    kind: ModelKind
    architecture: Architecture
    context_tokens: int
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    trust_remote_code: bool = False
    engine_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of ``source``."""
        return _last_part(self.source)


# Columns: hidden_size, intermediate_size, num_layers, heads, key/value heads, vocab_size, tied embeddings.
_QWEN2_5 = {
    "0.5B": (896, 4864, 24, 14, 2, 151936, True),
    "1.5B": (1536, 8960, 28, 12, 2, 151936, True),
    "3B": (2048, 11008, 36, 16, 2, 151936, True),
    "7B": (3584, 18944, 28, 28, 4, 152064, False),
    "14B": (5120, 13824, 48, 40, 8, 152064, False),
    "32B": (5120, 27648, 64, 40, 8, 152064, False),
    "72B": (8192, 29568, 80, 64, 8, 152064, False),
}
_QWEN3 = {
    "0.6B": (1024, 3072, 28, 16, 8, 151936, True),
    "1.7B": (2048, 6144, 28, 16, 8, 151936, True),
    "4B": (2560, 9728, 36, 32, 8, 151936, True),
    "8B": (4096, 12288, 36, 32, 8, 151936, False),
    "14B": (5120, 17408, 40, 40, 8, 151936, False),
    "32B": (5120, 25600, 64, 64, 8, 151936, False),
}
# Qwen2-VL-2B and 7B have the language models of Qwen2.5 1.5B and 7B.
_QWEN2_VL = {"2B": "1.5B", "7B": "7B", "72B": "72B"}
_QWEN2_VL_TOWER = VisionTower()
# Sizes inside the towers' MLP.
_QWEN2_5_VL = {"3B": 3420, "7B": 3420, "32B": 3456, "72B": 3456}
# Vocabulary and longest context, which differ from those of the text models.
_QWEN3_EMBEDDING = {"0.6B": (151669, 32768), "4B": (151665, 40960), "8B": (151665, 40960)}
_QWEN3_RERANKER = {"0.6B": (151669, 40960), "4B": (151669, 40960), "8B": (151669, 40960)}

_RERANKER_TEMPLATE = """\
<|im_start|>system
Judge whether the Document meets the requirements based on the Query and the Instruct provided. \
Note that the answer can only be "yes" or "no".<|im_end|>
<|im_start|>user
<Instruct>: {{ instruction | default("Given a web search query, retrieve relevant passages that answer \
the query", true) }}
<Query>: {{ (messages | selectattr("role", "equalto", "query") | first).content }}
<Document>: {{ (messages | selectattr("role", "equalto", "document") | first).content }}<|im_end|>
<|im_start|>assistant
<think>

</think>{{ "\\n\\n" }}"""
"""The prompt that Qwen3-Reranker was trained with (its model card), as vLLM's score template."""

_RERANKER_KWARGS: dict[str, Any] = {
    # Qwen publishes the reranker as a causal language model that says yes or no; vLLM turns the two rows
    # of its output matrix into a classifier (Qwen3ForSequenceClassificationConfig in vLLM 0.29).
    "hf_overrides": {
        "architectures": ["Qwen3ForSequenceClassification"],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
    },
    # Without an explicit template vLLM scores query and document glued together, which is meaningless here.
    "chat_template": _RERANKER_TEMPLATE,
}
# Vectors may be cut to the `dimensions` that a client asks for (Matryoshka, 32 dimensions and more).
_EMBEDDING_KWARGS: dict[str, Any] = {"hf_overrides": {"is_matryoshka": True}}


def find(source: str) -> Entry | None:
    """Look a model up.

    Args:
        source: An id on the hub, bare or with ``hf://`` or ``modelscope://`` before it; or a folder or
            address whose last part is the model's name, in any case.
    """
    scheme, separator, rest = source.partition("://")
    if separator and scheme in _HUBS:
        return _BY_SOURCE.get(rest.partition("@")[0].lower())
    if local_folder(source) is None and not separator:
        return _BY_SOURCE.get(source.lower())
    return _BY_NAME.get(_last_part(source).lower())


def architecture(source: str) -> Architecture | None:
    """A model's shape: the checkpoint's own word, or the catalogue's where the checkpoint is not here.

    Args:
        source: As for ``find``.

    Raises:
        CheckpointError: The folder that it names cannot be read, and the catalogue does not know it either.
    """
    folder, entry = local_folder(source), find(source)
    if folder is None or (entry and not folder.is_dir()):
        return entry.architecture if entry else None
    return read_architecture(folder)


def overrides(model: ModelConfig, entry: Entry | None) -> dict[str, Any]:
    """What replaces parts of the checkpoint's ``config.json``: the model's word, else the catalogue's."""
    kwargs = {**(entry.engine_kwargs if entry else {}), **model.engine_kwargs}
    replaced = kwargs.get("hf_overrides")
    return replaced if isinstance(replaced, dict) else {}


def successor(source: str) -> str | None:
    """The model that takes the place of one that the engine no longer runs; None for all others."""
    name = re.sub(r"(-int[48])?(@.*)?$", "", _last_part(source).lower(), count=1)
    return _SUCCESSORS.get(name)


def public_kind(name: str) -> ModelKind | None:
    """The kind of model behind a name of the public cloud; None if the name is not known.

    Dated and ``-latest`` names are their base name's; open models go by their own names in lower case.
    """
    base = re.sub(r"-(latest|\d{4}-\d{2}-\d{2}|\d{4})$", "", name)
    if base in PUBLIC_ALIASES:
        return PUBLIC_ALIASES[base]
    entry = _BY_NAME.get(name.lower())
    return entry.kind if entry else None


def entries() -> Iterator[Entry]:
    """All known models."""
    return iter(_BY_SOURCE.values())


def _last_part(source: str) -> str:
    return source.rstrip("/").rsplit("/", 1)[-1]


def _shape(name: str, row: tuple[int, int, int, int, int, int, bool], positions: int) -> Architecture:
    hidden, intermediate, layers, heads, key_value_heads, vocabulary, tied = row
    return Architecture(
        name=name,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        head_dim=128 if name.startswith("Qwen3") else hidden // heads,
        vocab_size=vocabulary,
        max_position_embeddings=positions,
        tied_embeddings=tied,
    )


def _int4(entry: Entry) -> Entry:
    """The published INT4 form, whose 72B models are padded."""
    shape = entry.architecture
    padded = 29696 if shape.intermediate_size == 29568 else shape.intermediate_size
    packed = replace(shape, intermediate_size=padded, quantization=_INT4)
    return replace(entry, source=f"{entry.source}-GPTQ-Int4", architecture=packed)


def _text() -> Iterator[Entry]:
    for size, row in _QWEN2_5.items():
        shape = _shape("Qwen2ForCausalLM", row, 32768)
        entry = Entry(f"Qwen/Qwen2.5-{size}-Instruct", ModelKind.TEXT, shape, _GENERATION_TOKENS, "hermes")
        yield from (entry, _int4(entry))
    for size, row in _QWEN3.items():
        shape = _shape("Qwen3ForCausalLM", row, 40960)
        yield Entry(f"Qwen/Qwen3-{size}", ModelKind.TEXT, shape, _GENERATION_TOKENS, "hermes", "qwen3")


def _vision_language() -> Iterator[Entry]:
    for size, language in _QWEN2_VL.items():
        shape = _shape("Qwen2VLForConditionalGeneration", _QWEN2_5[language], 32768)
        shape = replace(shape, vision=_QWEN2_VL_TOWER)
        source = f"Qwen/Qwen2-VL-{size}-Instruct"
        entry = Entry(source, ModelKind.VISION_LANGUAGE, shape, _GENERATION_TOKENS)
        yield from (entry, _int4(entry))
    for size, inner in _QWEN2_5_VL.items():
        shape = _shape("Qwen2_5_VLForConditionalGeneration", _QWEN2_5[size], 128000)
        shape = replace(shape, vision=VisionTower(intermediate_size=inner, mlp="gated"))
        source = f"Qwen/Qwen2.5-VL-{size}-Instruct"
        yield Entry(source, ModelKind.VISION_LANGUAGE, shape, _GENERATION_TOKENS)


def _pooling() -> Iterator[Entry]:
    families = (
        ("Embedding", ModelKind.EMBEDDING, _QWEN3_EMBEDDING, _EMBEDDING_KWARGS),
        ("Reranker", ModelKind.RERANKER, _QWEN3_RERANKER, _RERANKER_KWARGS),
    )
    for family, kind, sizes, kwargs in families:
        for size, (vocabulary, positions) in sizes.items():
            shape = replace(_shape("Qwen3ForCausalLM", _QWEN3[size], positions), vocab_size=vocabulary)
            yield Entry(f"Qwen/Qwen3-{family}-{size}", kind, shape, _POOLING_TOKENS, engine_kwargs=kwargs)


_BY_SOURCE = {entry.source.lower(): entry for make in (_text, _vision_language, _pooling) for entry in make()}
_BY_NAME = {entry.name.lower(): entry for entry in _BY_SOURCE.values()}

_SUCCESSORS = {
    "qwen-1_8b-chat": "Qwen/Qwen2.5-1.5B-Instruct",
    "qwen-7b-chat": "Qwen/Qwen2.5-7B-Instruct",
    "qwen-14b-chat": "Qwen/Qwen2.5-14B-Instruct",
    "qwen-72b-chat": "Qwen/Qwen2.5-72B-Instruct",
    "qwen-vl": "Qwen/Qwen2-VL-7B-Instruct",
    "qwen-vl-chat": "Qwen/Qwen2-VL-7B-Instruct",
}
"""The original generation (docs/decisions/0003-original-generation.md)."""

PUBLIC_ALIASES: dict[str, ModelKind] = {
    **dict.fromkeys(
        (
            "qwen-max", "qwen-plus", "qwen-turbo", "qwen-flash", "qwen-long", "qwen3-max", "qwq-plus",
            "qwen-coder-plus", "qwen-coder-turbo", "qwen3-coder-plus", "qwen3-coder-flash",
            "qwen-math-plus", "qwen-math-turbo", "qwen-mt-plus", "qwen-mt-turbo",
        ),
        ModelKind.TEXT,
    ),
    **dict.fromkeys(
        (
            "qwen-vl-max", "qwen-vl-plus", "qwen-vl-ocr", "qwen3-vl-plus", "qwen3-vl-flash",
            "qvq-max", "qvq-plus",
        ),
        ModelKind.VISION_LANGUAGE,
    ),
    **dict.fromkeys(
        ("text-embedding-v1", "text-embedding-v2", "text-embedding-v3", "text-embedding-v4"),
        ModelKind.EMBEDDING,
    ),
    **dict.fromkeys(("gte-rerank", "gte-rerank-v2", "qwen3-rerank"), ModelKind.RERANKER),
}  # fmt: skip
"""Names of Alibaba Cloud Model Studio (model list of 2026-04), and the kind of model behind each."""

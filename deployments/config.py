"""The configuration of models: what the operator writes about each of them.

Pure pydantic and light to import; nothing here knows Ray, torch or vLLM.
"""

from __future__ import annotations

import difflib
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

ModelId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", min_length=1, max_length=128)
]
"""A name safe in a URL, in a metric label and, unescaped, in JSON."""

AcceleratorName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$", max_length=64)]
"""As in Ray's resource ``accelerator_type:<name>``: A10, A100-40G, A100-80G, ..."""


class FrozenConfig(BaseModel):
    """A part of the configuration tree: immutable, and strict about its keys.

    Raises:
        pydantic.ValidationError: For an unknown key, with its path and the nearest right name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            names = ", ".join(cls.model_fields)
            for key in data:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    hint = (
                        f"unknown key; did you mean {near[0]!r}?"
                        if near
                        else f"unknown key; the keys are {names}"
                    )
                    raise PydanticCustomError("unknown_key", "{hint}", {"key": str(key), "hint": hint})
        return data


class ModelKind(StrEnum):
    """What a model does, and so which routes it serves."""

    TEXT = "text"
    VISION_LANGUAGE = "vision-language"
    EMBEDDING = "embedding"
    RERANKER = "reranker"

    @property
    def generates(self) -> bool:
        """Whether the model writes text, rather than vectors or scores."""
        return self in (ModelKind.TEXT, ModelKind.VISION_LANGUAGE)


class AutoscaleConfig(FrozenConfig):
    """How many replicas of a model run, by the requests that each of them has in hand."""

    min_replicas: NonNegativeInt = Field(
        1, description="Replicas that always run; 0: loaded when asked for, unloaded when idle."
    )
    max_replicas: PositiveInt = Field(1, description="Replicas that run at most.")
    target_ongoing_requests: PositiveFloat = Field(
        16, description="Requests in hand per replica that autoscaling aims at."
    )
    max_ongoing_requests: PositiveInt = Field(
        64, description="Requests that one replica takes at once; near the engine's max_num_seqs x 1.1."
    )
    max_queued_requests: PositiveInt = Field(
        256, description="Requests that wait per ingress replica before more are refused with 503."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas ({self.max_replicas}) must be at least min_replicas ({self.min_replicas})"
            )
        return self


class AcceleratorConfig(FrozenConfig):
    """A kind of GPU machine in the cluster."""

    gpus_per_node: PositiveInt = Field(..., description="GPUs of this type in one machine.")
    memory_gib: PositiveFloat = Field(..., description="Memory of one GPU, GiB.")


class SimulatedFaults(FrozenConfig):
    """How a simulated engine fails, for tests of what is around it."""

    fail_at_start: bool = Field(False, description="The simulated engine does not start.")
    fail_after_tokens: NonNegativeInt | None = Field(
        None, description="A request ends with an error after so many tokens of its answer."
    )
    fail_every_requests: PositiveInt = Field(
        1, description="Only the last of so many requests ends with that error; 1: each."
    )
    hang_after_tokens: PositiveInt | None = Field(
        None, description="The engine makes no more tokens after so many, and still says it is healthy."
    )
    die_after_tokens: PositiveInt | None = Field(
        None, description="The engine dies after so many tokens: requests fail, health checks too."
    )


class SimulationConfig(FrozenConfig):
    """A simulated engine in place of a real one, for load and scale tests."""

    load_s: NonNegativeFloat = Field(0, description="The engine is ready only after so long, seconds.")
    wake_s: NonNegativeFloat = Field(0, description="Waking it from sleep takes so long, seconds.")
    step_s: NonNegativeFloat = Field(
        0, description="A step of the engine, one token for each running request, seconds; 0: unpaced."
    )
    step_per_request_s: NonNegativeFloat = Field(
        0, description="What each running request adds to a step, seconds."
    )
    prefill_per_token_s: NonNegativeFloat = Field(
        0, description="What each prompt token adds to the step that takes its request in, seconds."
    )
    max_num_seqs: PositiveInt = Field(256, description="Answers that a step works on at most; others wait.")
    max_num_queued_reqs: PositiveInt | None = Field(
        None, description="Answers running and waiting at most; more are refused with 503."
    )
    kv_cache_tokens: PositiveInt = Field(
        1_048_576, description="Size of the simulated KV cache; a request waits until it fits."
    )
    default_output_tokens: PositiveInt = Field(
        128, description="Length of a chat answer where the request sets no maximum."
    )
    token_texts: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(
        (" lorem", " ipsum", " dolor", " sit", " amet"),
        min_length=1,
        description="What tokens read; an answer draws from them.",
    )
    embedding_dimensions: PositiveInt = Field(384, description="Length of simulated embeddings.")
    seed: int = Field(0, description="With the same seed, the same request gets the same answer.")
    faults: SimulatedFaults = Field(default_factory=SimulatedFaults, description="How the engine fails.")


class ModelConfig(FrozenConfig):
    """One model: where it comes from, what it does, and how its engine runs."""

    id: ModelId = Field(..., description="The name that clients ask for.")
    source: Annotated[str, StringConstraints(min_length=1)] = Field(
        ...,
        description="A checkpoint folder; s3://bucket/model, hf://owner/name or modelscope://owner/name; "
        "or the id of a model on the hub, which the engine itself fetches.",
    )
    kind: ModelKind = Field(..., description="text, vision-language, embedding or reranker.")
    accelerator: AcceleratorName | None = Field(
        None, description="GPU type from the accelerators table; none: the engine runs on the CPU."
    )
    tensor_parallel_size: PositiveInt = Field(
        1, le=64, description="GPUs (or CPU workers) that one replica's weights are split over."
    )
    gpu_share: PositiveFloat = Field(
        1, le=1, description="Share of its GPU that a replica takes, where several models are to share one."
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="Type of weights and activations that are not quantized."
    )
    quantization: Literal["none", "gptq-int4"] = Field(
        "none", description="Quantization of the checkpoint; it is checked against the checkpoint's own word."
    )
    group_size: PositiveInt = Field(128, description="Weights per scale of an INT4 checkpoint.")
    attention_backend: Literal["auto", "FLASH_ATTN", "FLASHINFER", "TRITON_ATTN"] = Field(
        "auto", description="vLLM's attention backend; auto leaves the choice to vLLM."
    )
    max_model_len: PositiveInt | None = Field(
        None, description="Context in tokens, prompt and answer together; default: the catalogue's."
    )
    max_images_per_prompt: PositiveInt = Field(
        8, description="Images in one request to a vision-language model."
    )
    tool_parser: str | None = Field(
        None, description="vLLM's parser of tool calls; default: the catalogue's; 'none' for none."
    )
    reasoning_parser: str | None = Field(
        None, description="vLLM's parser of reasoning; default: the catalogue's; 'none' for none."
    )
    chat_template: str | None = Field(
        None, description="A Jinja file in place of the checkpoint's own chat template."
    )
    kv_cache_bytes: PositiveInt | None = Field(
        None, description="Size of the KV cache in bytes; default: what vLLM finds free."
    )
    sleep_level: Literal[1, 2] | None = Field(
        None,
        description="A warm model sleeps so deep: 1 keeps its weights in the host's memory, 2 reads them "
        "again on waking; none: its engine cannot sleep.",
    )
    sleep_memory_bytes: PositiveInt | None = Field(
        None,
        description="Host memory that a replica takes while it sleeps, bytes; default: from the model's "
        "size, at level 1 its weights and 1 GiB.",
    )
    cpu_threads: PositiveInt = Field(1, description="OpenMP threads of an engine without a GPU.")
    autoscale: AutoscaleConfig = Field(default_factory=AutoscaleConfig, description="Replicas and queues.")
    expected_load_s: PositiveFloat | None = Field(
        None,
        description="From placed to ready, seconds, as clients are told until it has been measured; default: "
        "from the checkpoint's size.",
    )
    graceful_shutdown_timeout_s: PositiveFloat = Field(
        600, description="A replica that stops may finish its requests for so long, seconds."
    )
    engine_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of vLLM's engine, passed as they are."
    )
    simulation: SimulationConfig | None = Field(
        None, description="Simulate the engine, for load tests; default: the real engine."
    )

    @model_validator(mode="after")
    def _gpu_is_shared_whole(self) -> Self:
        if self.gpu_share < 1 < self.tensor_parallel_size:
            raise ValueError("gpu_share must be 1 where tensor_parallel_size is more than 1")
        return self

    @model_validator(mode="after")
    def _engine_kwargs_do_not_shadow(self) -> Self:
        shadowed = self.engine_kwargs.keys() & _OWNED_ENGINE_KWARGS.keys()
        if shadowed:
            key = min(shadowed)
            raise ValueError(f"engine_kwargs.{key}: set {_OWNED_ENGINE_KWARGS[key]} of the model instead")
        return self


_OWNED_ENGINE_KWARGS = {
    "model": "source",
    "served_model_name": "id",
    "tensor_parallel_size": "tensor_parallel_size",
    "dtype": "dtype",
    "quantization": "quantization",
    "attention_backend": "attention_backend",
    "max_model_len": "max_model_len",
    "limit_mm_per_prompt": "max_images_per_prompt",
    "tool_call_parser": "tool_parser",
    "reasoning_parser": "reasoning_parser",
    "chat_template": "chat_template",
    "kv_cache_memory_bytes": "kv_cache_bytes",
    "enable_sleep_mode": "sleep_level",
}

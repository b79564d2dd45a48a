"""From a model's configuration to its Ray Serve deployment: engine arguments, placement, autoscaling.

Built on ``ray.serve.llm``, which is imported only when a deployment is built (it loads vLLM).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments import catalog
from deployments.checkpoint import local_folder
from deployments.config import ModelConfig, ModelKind
from deployments.weights import WeightsConfig

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

_ACCELERATOR_SHARE = 0.001
"""Ray's own convention for asking for a GPU type without using it up."""

_SIMULATED_CPU = 0.001
"""A placement group must ask for something; hundreds of simulated replicas fit one machine."""

_METRICS_INTERVAL_S = 0.5
"""How soon the fleet policy sees a request that waits for a model."""

_NO_DOMAIN = "images-are-inlined.invalid"
"""A name that cannot exist (RFC 2606); vLLM takes an empty list for no restriction."""


def build_model(model: ModelConfig, weights: WeightsConfig) -> DeploymentHandle[Any]:
    """Bind one model's deployment.

    Args:
        model: A configuration that ``deployments.checks`` has found possible.
        weights: The store that its weights come through.

    Returns:
        What ``.bind()`` returns: a handle once the application runs.
    """
    from ray.serve.llm import LLMConfig, ModelLoadingConfig, build_llm_deployment

    from deployments.engine import Weights
    from deployments.server import ModelServer

    source = _source(model)
    # An address is no business of Ray's, which would make a mirror of it.
    loaded_by_engine = None if "://" in source else source
    config = LLMConfig(
        model_loading_config=ModelLoadingConfig(model_id=model.id, model_source=loaded_by_engine),
        engine_kwargs=engine_kwargs(model),
        placement_group_config={"bundles": bundles(model), "strategy": "STRICT_PACK"},
        accelerator_config={"kind": "gpu" if model.accelerator else "cpu"},
        deployment_config=deployment_options(model),
        runtime_env={"env_vars": environment(model)},
        callback_config={
            "callback_class": Weights,
            "callback_kwargs": {"source": source, "weights": weights},
        },
        log_engine_metrics=True,
    )
    return build_llm_deployment(config, deployment_cls=ModelServer, bind_kwargs=engine_options(model))


def engine_options(model: ModelConfig) -> dict[str, Any]:
    """The engine's class where it is not the server's own, as arguments of the server."""
    if model.simulation is None:
        return {}
    from deployments.simulated.engine import SimulatedEngine

    engine = partial(SimulatedEngine, simulation=model.simulation, max_model_len=model.max_model_len)
    return {"engine_cls": engine}


def _source(model: ModelConfig) -> str:
    """The folder in full, so that a replica finds it whatever directory it runs in; or what else it is."""
    folder = local_folder(model.source)
    return str(folder.resolve()) if folder is not None and folder.is_dir() else model.source


def engine_kwargs(model: ModelConfig) -> dict[str, Any]:
    """Arguments of vLLM's engine, with the catalogue's defaults where the model says nothing.

    A simulated engine takes none.
    """
    if model.simulation is not None:
        return {}
    entry = catalog.find(model.source)
    arguments: dict[str, Any] = {
        "tensor_parallel_size": model.tensor_parallel_size,
        "dtype": model.dtype,
        "max_model_len": model.max_model_len or (entry.context_tokens if entry else None),
        "kv_cache_memory_bytes": model.kv_cache_bytes,
        "attention_backend": None if model.attention_backend == "auto" else model.attention_backend,
        "chat_template": str(Path(model.chat_template).resolve()) if model.chat_template else None,
        "trust_remote_code": entry.trust_remote_code if entry else None,
        **(_generation_kwargs(model, entry) if model.kind.generates else {"runner": "pooling"}),
    }
    if model.kind is ModelKind.EMBEDDING:
        arguments["convert"] = "embed"
    if model.kind is ModelKind.VISION_LANGUAGE:
        arguments["limit_mm_per_prompt"] = {"image": model.max_images_per_prompt, "video": 0}
        # The ingress inlines every image; should a URL get past it, the engine still fetches nothing.
        arguments["allowed_media_domains"] = [_NO_DOMAIN]
    given = {key: value for key, value in arguments.items() if value is not None}
    return {**(entry.engine_kwargs if entry else {}), **given, **model.engine_kwargs}


def _generation_kwargs(model: ModelConfig, entry: catalog.Entry | None) -> dict[str, Any]:
    tool_parser = _parser(model.tool_parser, entry.tool_parser if entry else None)
    return {
        "enable_auto_tool_choice": True if tool_parser else None,
        "tool_call_parser": tool_parser,
        # Otherwise the model sees the tools all the same, and its call comes back as text.
        "exclude_tools_when_tool_choice_none": True if tool_parser else None,
        "reasoning_parser": _parser(model.reasoning_parser, entry.reasoning_parser if entry else None),
        # Clients of the public API read usage.prompt_tokens_details.cached_tokens.
        "enable_prompt_tokens_details": True,
        # What waited in the engine's queue, told apart from what ran; the replica takes it off the answer.
        "enable_per_request_metrics": True,
    }


def _parser(configured: str | None, default: str | None) -> str | None:
    chosen = configured or default
    return None if chosen == "none" else chosen


def bundles(model: ModelConfig) -> list[dict[str, float]]:
    """Resources of one replica, a bundle per tensor parallel rank; all of them on one node.

    ``LLMConfig.accelerator_type`` is not used for it: it turns A10 into A10G, while Ray labels the
    machines of an A10 as A10.
    """
    if model.accelerator is None and model.simulation is not None:
        return [{"CPU": _SIMULATED_CPU}]
    if model.accelerator is None:
        return [{"CPU": 1.0} for _ in range(model.tensor_parallel_size)]
    bundle = {"GPU": model.gpu_share, f"accelerator_type:{model.accelerator}": _ACCELERATOR_SHARE}
    return [dict(bundle) for _ in range(model.tensor_parallel_size)]


def deployment_options(model: ModelConfig) -> dict[str, Any]:
    """Serve's options: replicas, queues, draining."""
    scale = model.autoscale
    # Serve would add a whole CPU for the replica to its bundle.
    simulated = {"ray_actor_options": {"num_cpus": 0}} if model.simulation is not None else {}
    return {
        **simulated,
        "max_ongoing_requests": scale.max_ongoing_requests,
        "max_queued_requests": scale.max_queued_requests,
        "graceful_shutdown_timeout_s": model.graceful_shutdown_timeout_s,
        "autoscaling_config": {
            "min_replicas": scale.min_replicas,
            # Not left out: Serve would start one replica of a model that is to have none.
            "initial_replicas": scale.min_replicas,
            "max_replicas": scale.max_replicas,
            "target_ongoing_requests": scale.target_ongoing_requests,
            # The fleet policy has its own patience; Serve would wait again on top of it.
            "upscale_delay_s": 0,
            "downscale_delay_s": 0,
            "metrics_interval_s": _METRICS_INTERVAL_S,
            "look_back_period_s": 2 * _METRICS_INTERVAL_S,
        },
    }


def environment(model: ModelConfig) -> dict[str, str]:
    """Environment variables of the replica and its engine."""
    if model.accelerator is not None:
        return {}
    # The engine's sampler compiles parts of itself on first use, eager or not, and dies of it where there
    # is no C++ compiler; a first request with `logprobs` would wait 20 s for it where there is one.
    eager = {"TORCH_COMPILE_DISABLE": "1"} if model.engine_kwargs.get("enforce_eager") else {}
    return {
        **eager,
        # Several engines share the cores: vLLM's own binding would put all of them on core 0.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(model.cpu_threads),
    }

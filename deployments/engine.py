"""vLLM's engine as Ray starts it, with what one machine without a GPU needs."""

from __future__ import annotations

from typing import Any

from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine, VLLMSleepConfig

from deployments.load import EngineLoad
from deployments.load_logger import LoadLogger
from deployments.meter import Meter, MeteredStates


class Engine(VLLMEngine):
    """``ray.serve.llm``'s engine; a CPU engine of one rank does without a worker process of its own.

    vLLM turns the ``uni`` executor into ``mp`` on a CPU, because it sets the OpenMP environment for the
    worker process; here the replica's environment is set already (``deployments.build.environment``),
    and a process less is 0.8 GiB and several seconds of start less per model.
    """

    def __init__(self, llm_config: LLMConfig) -> None:
        super().__init__(llm_config)
        self.meter = Meter()

    def _start_async_llm_engine(self, vllm_engine_args: Any, vllm_engine_config: Any, *rest: Any) -> Any:
        parallel = vllm_engine_config.parallel_config
        if vllm_engine_config.device_config.device_type == "cpu" and parallel.world_size == 1:
            parallel.distributed_executor_backend = "uni"
        client = super()._start_async_llm_engine(vllm_engine_args, vllm_engine_config, *rest)
        client.output_processor.request_states = MeteredStates(self.meter)
        # Beside Ray's own, for which vLLM's constructor has no place that Ray would let us reach.
        self._load = LoadLogger(vllm_engine_config)
        client.logger_manager.stat_loggers.append(self._load)
        return client

    @property
    def sleep_unsupported(self) -> str | None:
        """Why the engine cannot sleep, None if it can; it must have been started.

        vLLM itself does not say: a CPU's workers ignore being put to sleep and the engine then says that
        it sleeps, and so does an engine whose memory was not allocated for it.
        """
        config = self._engine_client.vllm_config
        if config.device_config.device_type == "cpu":
            return "vLLM's engine on the CPU has no sleep mode"
        if not config.model_config.enable_sleep_mode:
            return "the engine was started without enable_sleep_mode; set sleep_level of the model"
        return None

    async def sleep(self, **options: Any) -> None:
        """Put the engine to sleep when nothing runs; what waits goes on waiting.

        Ray's own would have vLLM abort what came since the engine was paused.

        Args:
            **options: ``level``, 1 or 2.
        """
        await self._engine_client.sleep(level=VLLMSleepConfig(**options).level, mode="wait")

    def load(self) -> EngineLoad:
        """What the engine has in hand; it must have been started."""
        requests = self._engine_client.output_processor
        return self._load.load(
            requests.get_num_unfinished_requests(), requests.get_num_queued_tokens(), self.meter.taken
        )


class LocalSource(CallbackBase):
    """Leaves finding the weights to vLLM, which takes a folder as well as a hub id.

    Ray would run a task on each node to download them first; the worker of that task imports vLLM and
    then idles with 0.7 GiB.
    """

    async def on_before_node_init(self) -> None:
        """Called by the engine before it starts."""
        self.ctx.run_init_node = False

"""vLLM's engine as Ray starts it, with what one machine without a GPU needs."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine, VLLMSleepConfig

from deployments.checkpoint import local_folder
from deployments.load import EngineLoad
from deployments.load_logger import LoadLogger
from deployments.meter import Meter, MeteredStates
from deployments.reporter import Reporter
from deployments.weights import Lease, ModelStore, Phase, WeightsConfig

_PROGRESS_INTERVAL_S: Final = 1.0


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


class Weights(CallbackBase):
    """Has the weights on this machine before the engine starts, and holds them for as long as it lives.

    A folder is used where it lies; an id on the hub is left to vLLM. Ray would run a task on each node to
    download either first; the worker of that task imports vLLM and then idles with 0.7 GiB.

    Args:
        llm_config: The model's; its engine is pointed at the folder.
        source: As configured.
        weights: The store.
        callback: What Ray gives every callback.
    """

    def __init__(
        self, llm_config: LLMConfig, *, source: str, weights: WeightsConfig, **callback: Any
    ) -> None:
        super().__init__(llm_config, **callback)
        self._source, self._store = source, ModelStore(weights)
        self._lease: Lease | None = None

    async def on_before_node_init(self) -> None:
        """Called by the engine before it starts.

        Raises:
            WeightsError: The weights cannot be had.
        """
        self.ctx.run_init_node = False
        if "://" in self._source or local_folder(self._source) is not None:
            self._lease = await self._ensure(Reporter(self.llm_config.model_id))
            self.llm_config.get_engine_config().hf_model_id = str(self._lease.folder)

    async def _ensure(self, reporter: Reporter) -> Lease:
        """Wait for the weights, and tell the board how far they are: by whichever replica's download."""
        fetching = asyncio.create_task(asyncio.to_thread(self._store.ensure, self._source))
        while not (await asyncio.wait([fetching], timeout=_PROGRESS_INTERVAL_S))[0]:
            state = await asyncio.to_thread(self._store.state, self._source)
            if state.phase is Phase.DOWNLOADING and state.bytes_total:
                await reporter.loading(str(state))
        return await fetching

    def _handle_callback_error(self, method_name: str, e: Exception) -> None:  # noqa: ARG002
        """Ray's puts the error into one of its own, without its kind."""
        raise e

    def __getstate__(self) -> dict[str, Any]:
        # The configuration, and this with it, goes to the tasks that look at the GPUs; the lock stays here.
        return {**self.__dict__, "_lease": None}

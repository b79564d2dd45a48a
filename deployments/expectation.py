"""What a model's load and sleep are expected to take, until they have been measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deployments import catalog, memory
from deployments.architecture import Architecture
from deployments.config import ModelConfig

READ_BYTES_PER_S: Final = 1_000_000_000
"""How fast a checkpoint comes from disk. An assumption: one NVMe disk, read cold. Engines logged from 0.1
(vLLM #17469, 57 GB in 558 s over a network) to 8 GB/s (vLLM #16570, 147 GB in 18 s, read before)."""

ENGINE_START_S: Final = 45.0
"""Of an engine on a GPU, its weights aside: processes, compilation, profile, CUDA graphs. An assumption."""

CPU_ENGINE_START_S: Final = 30.0
"""Of an engine on a CPU: 17 to 27 s and the replica's own process, measured on two cores."""

SIMULATED_START_S: Final = 11.0
"""Of a replica with a simulated engine: about 12 s with a load of 1 s (docs/performance.md)."""

UNKNOWN_LOAD_S: Final = 60.0
"""Of a model whose size is not known."""

PROCESS_BYTES: Final = 1 << 30
"""Host memory of a replica's processes that sleep and hold no weights."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Of one replica.

    Attributes:
        load_s: From placed to ready, seconds. A download, where the weights lie elsewhere, comes on top.
        sleep_bytes: Host memory that it takes while it sleeps.
    """

    load_s: float
    sleep_bytes: int

    @classmethod
    def of(cls, model: ModelConfig, architecture: Architecture | None) -> Expectation:
        """Of a configured model: what it says, else what follows from its size.

        Args:
            model: The model.
            architecture: Its shape; none: it is not known.
        """
        known = architecture if architecture and architecture.is_dense_qwen else None
        return cls(
            load_s=model.expected_load_s or _load_s(model, known),
            sleep_bytes=model.sleep_memory_bytes or _sleep_bytes(model, known),
        )


def _load_s(model: ModelConfig, architecture: Architecture | None) -> float:
    if model.simulation is not None:
        return SIMULATED_START_S + model.simulation.load_s
    if architecture is None:
        return UNKNOWN_LOAD_S
    start_s = CPU_ENGINE_START_S if model.accelerator is None else ENGINE_START_S
    return start_s + memory.checkpoint_bytes(architecture) / READ_BYTES_PER_S


def _sleep_bytes(model: ModelConfig, architecture: Architecture | None) -> int:
    """At level 1 each rank keeps its weights in the host's memory, at level 2 none does."""
    if model.simulation is not None or architecture is None or model.sleep_level != 1:
        return PROCESS_BYTES
    shape = memory.shape_of(model, architecture, catalog.find(model.source))
    weights = memory.estimate(architecture, shape).weights_bytes
    return PROCESS_BYTES + weights * model.tensor_parallel_size

"""Ten models on four GPUs: the cluster that is replayed, and what is assumed of it.

Assumptions, not measurements. Load times are from local NVMe with a warm page cache and compiled graphs kept,
speeds those of vLLM on one A100 of 80 GB, halved where a model has half of it. The order is the popularity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deployments.config import ModelKind
from deployments.fleet.config import FleetModel
from deployments.fleet.observation import Node
from deployments.fleet.replay.engine import Speed

_ACCELERATOR = "A100-80G"
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model of the replay.

    Attributes:
        fleet: As the policy sees it.
        kind: What it does.
        speed: Its engine.
        load_s: From placed to ready.
        wake_s: From asleep to ready.
        max_ongoing_requests: Requests that one replica takes; more wait at the ingress.
    """

    fleet: FleetModel
    kind: ModelKind
    speed: Speed
    load_s: float
    wake_s: float
    max_ongoing_requests: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """The cluster.

    Attributes:
        models: Most popular first.
        nodes: The machines.
        stop_s: From a replica's last request until its GPUs are free.
    """

    models: tuple[SimulatedModel, ...]
    nodes: tuple[Node, ...]
    stop_s: float = 5.0

    @property
    def names(self) -> list[str]:
        """The models' names, most popular first."""
        return [model.fleet.id for model in self.models]

    def dedicated(self) -> Scenario:
        """The same models, each with its least replicas, or one, on whole GPUs that no other model uses."""
        models = tuple(replace(one, fleet=_alone(one.fleet)) for one in self.models)
        fleets = [one.fleet for one in models]
        nodes = [
            Node(one.id, one.accelerator or "", one.tensor_parallel_size * one.min_replicas) for one in fleets
        ]
        return replace(self, models=models, nodes=tuple(nodes))


def _alone(fleet: FleetModel) -> FleetModel:
    name = fleet.id.replace(".", "-")
    pinned = max(1, fleet.min_replicas)
    alone = {"gpu_share": 1.0, "accelerator": name, "min_replicas": pinned}
    return FleetModel.model_validate({**fleet.model_dump(), **alone})


@dataclass(frozen=True, slots=True)
class _Row:
    """A model in one line."""

    id: str
    kind: ModelKind
    gpus: float
    load_s: float
    prefill_ms: float
    step_ms: float
    seqs: int
    kv_tokens: int
    weights_gib: int
    hot: bool = False
    max_replicas: int = 1


_TEXT, _VISION = ModelKind.TEXT, ModelKind.VISION_LANGUAGE
_TEN = (
    _Row("qwen2.5-7b-instruct", _TEXT, 1, 40, 0.12, 14, 64, 900_000, 15, hot=True, max_replicas=2),
    _Row("qwen3-embedding-0.6b", ModelKind.EMBEDDING, 0.25, 20, 0.06, 5, 128, 150_000, 2, hot=True),
    _Row("qwen2.5-32b-instruct", _TEXT, 1, 90, 0.50, 30, 32, 60_000, 61),
    _Row("qwen2.5-coder-7b-instruct", _TEXT, 0.5, 40, 0.24, 22, 32, 300_000, 15),
    _Row("qwen2-vl-7b-instruct", _VISION, 0.5, 45, 0.26, 24, 32, 280_000, 16),
    _Row("qwen3-reranker-4b", ModelKind.RERANKER, 0.25, 30, 0.25, 8, 64, 60_000, 8),
    _Row("qwen2.5-14b-instruct", _TEXT, 1, 60, 0.22, 22, 48, 230_000, 28),
    _Row("qwen2.5-72b-instruct-int4", _TEXT, 2, 120, 0.60, 32, 32, 300_000, 41),
    _Row("qwen2.5-coder-32b-instruct", _TEXT, 1, 90, 0.50, 30, 32, 60_000, 61),
    _Row("qwen2.5-math-7b-instruct", _TEXT, 0.5, 40, 0.24, 22, 32, 300_000, 15),
)


def ten_models(node_gpus: Sequence[int] = (4,), host_memory_gib: int = 0) -> Scenario:
    """The scenario.

    Args:
        node_gpus: GPUs of each node.
        host_memory_gib: On each node, for models that sleep; 0: none of them can.
    """
    nodes = [
        Node(f"node-{index}", _ACCELERATOR, gpus, host_memory_gib * _GIB)
        for index, gpus in enumerate(node_gpus, start=1)
    ]
    return Scenario(tuple(_model(row, sleeps=host_memory_gib > 0) for row in _TEN), tuple(nodes))


def _model(row: _Row, *, sleeps: bool) -> SimulatedModel:
    fleet = FleetModel(
        id=row.id,
        accelerator=_ACCELERATOR,
        tensor_parallel_size=max(1, int(row.gpus)),
        gpu_share=min(1.0, row.gpus),
        min_replicas=int(row.hot),
        max_replicas=row.max_replicas,
        target_ongoing_requests=row.seqs * 0.75,
        reports_kv_cache=row.kind.generates,
        # The policy is told nothing: it has to learn what a load takes.
        expected_load_s=60,
        sleep_bytes=row.weights_gib * _GIB if sleeps else None,
    )
    speed = Speed(row.prefill_ms / 1000, row.step_ms / 1000, 0.0002, row.seqs, row.kv_tokens)
    wake_s = 1.0 + row.weights_gib / 12  # over PCIe 4, about 12 GiB/s and a second of overhead
    return SimulatedModel(fleet, row.kind, speed, row.load_s, wake_s, round(row.seqs * 1.1))

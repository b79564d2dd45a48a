"""The vitals as gauges: which models are loaded, who waits for them, whether the ledger answers."""

from __future__ import annotations

from ray.serve.metrics import Gauge

from deployments.fleet import ModelState
from serve_app.vitals import Vitals


class VitalMetrics:
    """Each ingress replica tells what it sees; of states they all see the same."""

    def __init__(self) -> None:
        self._ledger = Gauge(
            "qwen_serve_ledger_reachable",
            description="1 while the limits' ledger answers, otherwise 0.",
        )
        self._state = Gauge(
            "qwen_serve_model_state",
            description="1 for the state that a model is in, 0 for the others.",
            tag_keys=("model", "state"),
        )
        self._waiting = Gauge(
            "qwen_serve_cold_start_waiting_requests",
            description="Requests that wait for a model to load.",
            tag_keys=("model",),
        )
        self._gpus = Gauge(
            "qwen_serve_fleet_gpus",
            description="GPUs that models hold (used), and all that there are for them (total).",
            tag_keys=("accelerator", "of"),
        )

    def tell(self, vitals: Vitals) -> None:
        """Set them all. A model that is gone is told no more, and Ray forgets its gauges."""
        self._ledger.set(0 if vitals.ledger_away else 1)
        for model, is_in in vitals.states.items():
            for state in ModelState:
                self._state.set(float(state is is_in), tags={"model": model, "state": state.value})
        for model, waiting in vitals.waiting.items():
            self._waiting.set(waiting, tags={"model": model})
        for accelerator, (used, total) in vitals.gpus.items():
            self._gpus.set(used, tags={"accelerator": accelerator, "of": "used"})
            self._gpus.set(total, tags={"accelerator": accelerator, "of": "total"})

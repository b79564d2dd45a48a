"""What a replica says of its load arrives, through Serve, at the policy that scales the application.

Real Ray Serve with a simulated engine, in a process of its own (``main`` below), with its own folder and
ports. The policy is one for a whole application, as only a configuration file can name it; it writes down
what it sees.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.ray_process import found_by

ROOT = Path(__file__).resolve().parents[2]
SEEN_WITHIN_S = 60.0
PROMPT_TOKENS = 12
"""Of the simulated engine for a chat that says hello."""

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def seen() -> list[dict[str, float]]:
    """The figures of every look of the policy, oldest first."""
    text = found_by("tests.integration.test_load", timeout_s=300)
    return [json.loads(line) for line in text.splitlines()]


def test_policy_sees_who_runs_and_who_waits(seen: list[dict[str, float]]) -> None:
    busy = max(seen, key=lambda stats: stats["running"] + stats["waiting"])
    assert (busy["running"], busy["waiting"], busy["requests_total"]) == (2, 4, 6)
    assert busy["queued_prompt_tokens"] == 4 * PROMPT_TOKENS
    assert 0 < busy["kv_cache_usage"] < 0.1


def test_policy_sees_the_time_of_a_step(seen: list[dict[str, float]]) -> None:
    assert seen[-1]["step_s"] == pytest.approx(0.02, rel=0.5)


def test_policy_sees_an_idle_engine_before_and_after(seen: list[dict[str, float]]) -> None:
    for stats, taken in (seen[0], 0), (seen[-1], 6):
        assert (stats["running"], stats["waiting"], stats["requests_total"]) == (0, 0, taken)
        assert stats["kv_cache_usage"] == 0


class Witness:
    """An application's autoscaling policy that changes nothing and writes down what replicas report.

    Args:
        path: A line for each look, in JSON.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def __call__(self, contexts: dict[Any, Any]) -> tuple[dict[Any, int], None]:
        from deployments.load import EngineLoad

        for context in contexts.values():
            newest: dict[str, float] = {}
            for name, replicas in context.raw_metrics.items():
                for series in replicas.values():
                    newest[name] = series[-1].value
            if "waiting" in newest:
                stats = EngineLoad.from_stats(newest).to_stats()
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(stats) + "\n")
        return {}, None


def application(_args: dict[str, str]) -> Any:
    """What Serve builds: one replica of one simulated model."""
    from deployments.build import build_model
    from deployments.config import ModelConfig
    from deployments.weights import WeightsConfig

    simulation = {"max_num_seqs": 2, "step_s": 0.02, "kv_cache_tokens": 10_000}
    fields = {"id": "sim", "source": "simulated", "kind": "text", "simulation": simulation}
    return build_model(ModelConfig.model_validate(fields), WeightsConfig())


def main(path: Path) -> None:
    """Run the application, send it six calls, and wait until the policy has seen them come and go."""
    import ray
    from ray import serve
    from ray.serve.schema import ServeDeploySchema

    from deployments.call import Call, Task
    from deployments.channel import Address

    scaling = {"min_replicas": 1, "max_replicas": 2, "metrics_interval_s": 0.2, "look_back_period_s": 1}
    described = {
        "proxy_location": "Disabled",
        "applications": [
            {
                "name": "load",
                "route_prefix": None,
                "import_path": "tests.integration.test_load:application",
                "args": {"key": "value"},
                "autoscaling_policy": {
                    "policy_function": "tests.integration.test_load:Witness",
                    "policy_kwargs": {"path": str(path)},
                },
                "deployments": [{"name": "ModelServer:sim", "autoscaling_config": scaling}],
            }
        ],
    }
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(proxy_location="Disabled")
        serve.context._get_global_client().deploy_apps(ServeDeploySchema.model_validate(described))
        _until(path, bool)
        handle = serve.get_app_handle("load")
        nowhere = Address("tcp://127.0.0.1:9", b"k" * 40, b"k" * 16)
        body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}
        calls = [Call(Task.CHAT, body, "sim", f"r{number}") for number in range(6)]
        answers = [handle.answer.remote(call, nowhere) for call in calls]
        _until(path, lambda stats: stats["running"] + stats["waiting"] == len(calls))
        for answer in answers:
            answer.result(timeout_s=60)
        _until(path, lambda stats: stats["requests_total"] == len(calls) and stats["running"] == 0)
    finally:
        serve.shutdown()
        ray.shutdown()


def _until(path: Path, holds: Any) -> None:
    deadline = time.monotonic() + SEEN_WITHIN_S
    while time.monotonic() < deadline:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if lines and holds(json.loads(lines[-1])):
            return
        time.sleep(0.05)
    raise TimeoutError(f"the policy did not see it within {SEEN_WITHIN_S} s: {lines[-3:]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

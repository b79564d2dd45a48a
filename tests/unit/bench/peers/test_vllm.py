"""Engine arguments as a command line."""

from __future__ import annotations

import json

from bench import lineup
from bench.peers.vllm import flags
from deployments import build


def test_flags_say_what_the_arguments_say() -> None:
    given = {"max_model_len": 1024, "enforce_eager": True, "enable_x": False, "nested": {"a": [1]}}

    assert flags(given) == [
        *("--max-model-len", "1024", "--enforce-eager", "--no-enable-x"),
        *("--nested", json.dumps({"a": [1]})),
    ]


def test_bare_vllm_gets_every_engine_argument_of_the_demonstration_model() -> None:
    arguments = build.engine_kwargs(lineup.first_model(lineup.REAL))

    given = flags(arguments)

    assert sum(flag.startswith("--") for flag in given) == len(arguments)
    assert "--kv-cache-memory-bytes" in given

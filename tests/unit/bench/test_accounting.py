"""Processes are told apart by what they call themselves, and accounted for with real children."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest

from bench import accounting
from cluster.local import processes

_BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("VLLM::EngineCore", "engine"),
        ("VLLM::Worker", "engine"),
        ("ray::ServeReplica:qwen-serve:Ingress", "ingress"),
        ("ray::ServeReplica:peer:OpenAiIngress", "ingress"),
        ("ray::ServeReplica:qwen-serve:ModelServer:simulated-chat", "replica"),
        ("ray::ProxyActor", "ray proxy"),
        ("/opt/haproxy -db -f haproxy.cfg", "haproxy"),
        ("python .bench/venv/bin/litellm --config c.yaml", "litellm"),
        ("python -m something.else", "other"),
    ],
)
def test_kind_follows_from_the_command_line(command: str, kind: str) -> None:
    assert accounting.kind_of(command) == kind


def test_cpu_and_memory_of_a_session_are_those_of_its_processes() -> None:
    mark = secrets.token_hex(16)
    child = subprocess.Popen(
        [sys.executable, "-c", _BURN],
        env={**os.environ, processes.MARK: mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"

        assert 0.25 <= accounting.cpu_s(mark)["other"] < 5
        assert accounting.memory_bytes(mark)["other"] > 2**20
        assert 2**20 < accounting.private_bytes(mark)["other"] <= accounting.memory_bytes(mark)["other"]
    finally:
        child.kill()
        child.communicate()
    assert accounting.cpu_s(mark) == {}


def test_the_engine_is_no_framework() -> None:
    assert accounting.without_engine({"engine": 5.0, "ingress": 2.0, "ray": 1.0}) == 3.0


def test_what_has_gone_meanwhile_counts_nothing() -> None:
    before = {"a": 3.0, "b": 4.0}

    assert accounting.since(before, {"a": 5.0, "b": 1.0, "new": 2.0}) == {"a": 2.0, "b": 0.0, "new": 2.0}

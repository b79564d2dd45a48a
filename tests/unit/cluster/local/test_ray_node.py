"""What Ray's processes inherit, and the ports that they get."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest

from cluster.local import ray_node
from cluster.local.processes import MARK
from cluster.local.session import Session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session("an-id", 1, tmp_path, tmp_path, 8000)


def test_every_process_is_marked_and_needs_the_token(session: Session) -> None:
    env = ray_node.environment(session, {"RAY_ADDRESS": "10.0.0.1:6379", "PATH": "/bin"}, offline=True)

    assert env[MARK] == "an-id"
    assert env["RAY_AUTH_MODE"] == "token"
    assert env["RAY_AUTH_TOKEN_PATH"] == str(session.token_file)
    assert env["PATH"] == "/bin"
    assert "RAY_ADDRESS" not in env, "another cluster's address"


def test_what_the_user_sets_of_threads_and_hub_stays(session: Session) -> None:
    env = ray_node.environment(session, {"OMP_NUM_THREADS": "4", "HF_HUB_OFFLINE": "0"}, offline=True)

    assert env["OMP_NUM_THREADS"] == "4"
    assert env["HF_HUB_OFFLINE"] == "0"


def test_the_hub_can_be_asked_when_a_model_lies_there(session: Session) -> None:
    assert "HF_HUB_OFFLINE" not in ray_node.environment(session, {}, offline=False)


def test_ports_differ_and_avoid_a_taken_one() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]

        ports = ray_node.free_ports(taken, 0, 0)

    assert len(set(ports)) == 3
    assert taken < ports[0] <= taken + 100


def test_sessions_that_start_together_prefer_different_ports(session: Session) -> None:
    another = dataclasses.replace(session, port=8001)

    assert another.ports_above == session.ports_above + 1

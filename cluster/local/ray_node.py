"""This machine's Ray: a head node of its own beside any other Ray that may run here."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.local.diagnosis import last_words
from cluster.local.failure import LaunchFailed
from cluster.local.interrupt import Interrupt
from cluster.local.processes import MARK
from cluster.local.session import Session

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Requests and answers are small; the object store holds little else."""

_LOGICAL_CPUS = 16
_START_BOUND_S = 300.0
"""A second or five; on a machine that is busy with other things, minutes were seen."""
_POLL_S = 0.1
_LOOPBACK = "127.0.0.1"
_DASHBOARD_PORT = 8265
_NEAR = 100


@dataclass(frozen=True, slots=True)
class RayNode:
    """A running head node.

    Attributes:
        process: `ray start --block`, which ends when the node does.
        address: Of the cluster, for drivers.
        dashboard_url: The dashboard, on this machine only.
        log: What `ray start` has said.
    """

    process: subprocess.Popen[bytes]
    address: str
    dashboard_url: str
    log: Path


def environment(session: Session, base: Mapping[str, str], *, offline: bool) -> dict[str, str]:
    """The environment that every process of a session inherits.

    Args:
        session: Whose processes they are.
        base: The launcher's own environment; what it sets of threads and hub stays.
        offline: Whether all models are on this machine, so that nobody needs to ask a hub.
    """
    # RAY_ADDRESS may name another cluster, which is none of our business.
    inherited = {key: value for key, value in base.items() if key != "RAY_ADDRESS"}
    defaults = {
        # One thread per engine: several small engines on few cores are in each other's way otherwise.
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
    }
    if offline:
        defaults["HF_HUB_OFFLINE"] = "1"
    return {
        **defaults,
        **inherited,
        MARK: session.id,
        # Ray renames its workers; without this their environment, and the mark in it, would be overwritten.
        "SPT_NOENV": "1",
        # Ray listens on all addresses, and whoever reaches it can run code: let nobody in without the token.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(session.token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        # `serve run` has shut the application down before Ray is asked to stop: no draining of a lone node.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # No workers in reserve (by default one per logical CPU), and none kept that has nothing to do.
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_num_workers_soft_limit": "0",
    }


def start(
    session: Session, env: Mapping[str, str], interrupt: Interrupt, logical_gpus: Mapping[str, int]
) -> RayNode:
    """Start the head node and wait until drivers can connect.

    Args:
        session: Whose node it is.
        env: The environment of all of its processes.
        interrupt: Ends the wait.
        logical_gpus: By accelerator type; none: those that Ray finds.

    Raises:
        LaunchFailed: It does not start; with what it said last.
        Interrupted: Somebody asked to stop meanwhile.
    """
    dashboard_port, client_port, agent_port = free_ports(_DASHBOARD_PORT + session.ports_above, 0, 0)
    log = session.logs / "ray.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_command(session, dashboard_port, client_port, agent_port), *_gpus(logical_gpus)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Not in the terminal's group: Ctrl-C is for the launcher, which stops things in order.
            start_new_session=True,
        )
    address = _await_address(session, process, log, interrupt)
    dashboard_url = f"http://{_LOOPBACK}:{dashboard_port}"
    session.dashboard_file.write_text(dashboard_url, encoding="ascii")
    return RayNode(process, address, dashboard_url, log)


def free_ports(*preferred: int) -> list[int]:
    """As many free ports as asked for, each the preferred one or the next above it; 0 prefers none."""
    with contextlib.ExitStack() as held:
        # All are held until all are chosen, so that none is chosen twice.
        sockets = [held.enter_context(_bind_from(port)) for port in preferred]
        return [int(one.getsockname()[1]) for one in sockets]


def _bind_from(port: int) -> socket.socket:
    # Not just any port: until it is used, some connection may get one of those that the system hands out.
    near = (_bind(port + above) for above in range(_NEAR if port else 1))
    return next((held for held in near if held is not None), None) or _bind(0) or _refuse()


def _bind(port: int) -> socket.socket | None:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.bind((_LOOPBACK, port))
    except OSError:
        held.close()
        return None
    return held


def _refuse() -> socket.socket:
    raise LaunchFailed("no port is free on this machine; end programs that hold many connections")


def _command(session: Session, dashboard_port: int, client_port: int, agent_port: int) -> list[str]:
    return [
        # Not the `ray` script beside it: its first line is wrong once the environment was moved.
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        f"--num-cpus={max(_LOGICAL_CPUS, os.cpu_count() or 1)}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--temp-dir={session.temp_dir}",
        "--port=0",
        # Whatever is free, not Ray's usual range, in which another Ray's workers may be.
        "--min-worker-port=0",
        "--max-worker-port=0",
        f"--ray-client-server-port={client_port}",
        f"--dashboard-agent-listen-port={agent_port}",
        f"--dashboard-host={_LOOPBACK}",
        f"--dashboard-port={dashboard_port}",
        "--include-dashboard=true",
        # Replicas' logs are read where they lie, and one machine needs no autoscaler of machines.
        "--include-log-monitor=false",
        "--no-monitor",
        "--disable-usage-stats",
    ]


def _gpus(logical: Mapping[str, int]) -> list[str]:
    if not logical:
        return []
    kinds = {f"accelerator_type:{kind}": 1 for kind in logical}
    return [f"--num-gpus={sum(logical.values())}", f"--resources={json.dumps(kinds)}"]


def _await_address(
    session: Session, process: subprocess.Popen[bytes], log: Path, interrupt: Interrupt
) -> str:
    """The address that Ray writes into its folder once the head node is up."""
    deadline = time.monotonic() + _START_BOUND_S
    started = b"Ray runtime started"
    while time.monotonic() < deadline:
        interrupt.check()
        if process.poll() is not None:
            raise LaunchFailed(f"Ray did not start; all of it is in {log}", last_words(log))
        file = session.temp_dir / "ray_current_cluster"
        if file.is_file() and started in log.read_bytes():
            return file.read_text(encoding="utf-8").strip()
        interrupt.pause(_POLL_S)
    raise LaunchFailed(
        f"Ray did not start within {_START_BOUND_S:.0f} s; all of it is in {log}", last_words(log)
    )

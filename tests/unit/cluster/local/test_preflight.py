"""What is missing is said in one line, with what to do about it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cluster.local import preflight
from cluster.local.failure import LaunchFailed
from cluster.local.memory import GIB
from cluster.local.serve_file import ServedModel


def test_free_port_passes() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    preflight.check_port("127.0.0.1", port)


def test_taken_port_names_the_holder_and_the_way_out() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(
            LaunchFailed, match=rf"port {port} is taken by .*process {os.getpid()}.*PORT=8001"
        ):
            preflight.check_port("127.0.0.1", port)


def test_port_on_an_address_of_another_machine_names_the_setting() -> None:
    with pytest.raises(LaunchFailed, match=r"192\.0\.2\.77 is not an address of this machine.*http_options"):
        preflight.check_port("192.0.2.77", 8000)


def test_port_out_of_range_is_refused() -> None:
    with pytest.raises(LaunchFailed, match="port 70000: no such port"):
        preflight.check_port("127.0.0.1", 70000)


def test_too_little_memory_gives_both_figures() -> None:
    preflight.check_memory(10 * GIB, 10 * GIB)

    with pytest.raises(LaunchFailed, match=r"10\.0 GiB are needed and 3\.5 GiB are available; end other"):
        preflight.check_memory(10 * GIB, int(3.5 * GIB))


def test_too_little_disk_names_the_folder(tmp_path: Path) -> None:
    preflight.check_disk(tmp_path, needed=1)

    with pytest.raises(LaunchFailed, match=rf"too little disk: .* free in {tmp_path} .*TMPDIR"):
        preflight.check_disk(tmp_path, needed=1 << 60)


def test_too_little_shared_memory_names_the_container_option(tmp_path: Path) -> None:
    preflight.check_shared_memory(1, tmp_path)

    with pytest.raises(LaunchFailed, match=r"too little shared memory: .*--shm-size=2g"):
        preflight.check_shared_memory(1 << 60, tmp_path)


def test_missing_shared_memory_is_too_little(tmp_path: Path) -> None:
    with pytest.raises(LaunchFailed, match="0 MiB are free"):
        preflight.check_shared_memory(1, tmp_path / "none")


def test_missing_demonstration_models_name_the_command() -> None:
    model = ServedModel("demo-chat", "text", "models/no-such-model")

    with pytest.raises(
        LaunchFailed, match=r"demo-chat: there is no checkpoint in models/no-such-model; `make demo`"
    ):
        preflight.check_models([model])


def test_model_of_the_hub_is_not_looked_for_on_disk() -> None:
    preflight.check_models([ServedModel("qwen", "text", "Qwen/Qwen2.5-0.5B-Instruct")])


def test_needed_memory_grows_with_models_and_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    (tmp_path / "config.json").write_text("{}")
    local = ServedModel("a", "text", str(tmp_path))
    hub = ServedModel("b", "text", "Qwen/Qwen2.5-0.5B-Instruct")

    one, two = preflight.needed_bytes([hub]), preflight.needed_bytes([hub, local])

    assert two - one == preflight.MODEL_BYTES + 1000


def test_models_that_are_loaded_when_asked_for_need_memory_for_one_at_a_time() -> None:
    hot = ServedModel("a", "text", "Qwen/Qwen2.5-0.5B-Instruct")
    cold = [ServedModel(name, "text", "Qwen/Qwen2.5-0.5B-Instruct", always=False) for name in "bcd"]
    assert preflight.needed_bytes([hot, *cold]) == preflight.needed_bytes([hot]) + preflight.MODEL_BYTES

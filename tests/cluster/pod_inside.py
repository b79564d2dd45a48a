"""What ``test_pod`` runs inside: Ray as KubeRay starts it, and the configuration as KubeRay hands it over.

Run as a program, it writes what happened as JSON to standard output. All of it ends with its namespaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HEALTH = "http://127.0.0.1:52365/api/healthz"
DASHBOARD = "http://127.0.0.1:8265/api/serve/applications/"
PROXY = "http://127.0.0.1:8000"
START_WITHIN_S = 120.0
READY_WITHIN_S = 180.0


def ask(url: str, *, token: str = "", body: Any = None, method: str = "GET") -> tuple[int, str]:
    """Status and text of an answer; 0 where nobody answers."""
    request = urllib.request.Request(url, method=method, headers={"Content-Type": "application/json"})  # noqa: S310
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=30) as reply:  # noqa: S310
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_for(url: str, word: str, within_s: float) -> bool:
    """Whether an answer has a word, before the time is over."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if word in ask(url)[1]:
            return True
        time.sleep(0.5)
    return False


def writable(*folders: str) -> list[str]:
    """Folders in which a file can be made."""
    found = []
    for folder in folders:
        with contextlib.suppress(OSError):
            probe = Path(folder, ".probe")
            probe.touch()
            probe.unlink()
            found.append(folder)
    return found


def listening() -> list[str]:
    """Addresses and ports of this network, IPv4."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    found = set()
    for fields in (line.split() for line in lines):
        if fields[3] == "0A":
            address, port = fields[1].split(":")
            host = ".".join(str(byte) for byte in reversed(bytes.fromhex(address)))
            found.add(f"{host}:{int(port, 16)}")
    return sorted(found)


def start_ray(token: str) -> None:
    """One node with what the ingress's group and an A10 machine have."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    resources = {"qwen_serve_ingress": 1, "accelerator_type:A10": 1}
    with Path("/tmp/ray.log").open("wb") as log:  # noqa: S108
        subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *("--num-cpus=8", "--num-gpus=4", f"--resources={json.dumps(resources)}"),
                *("--node-ip-address=127.0.0.1", "--dashboard-host=0.0.0.0"),
                *("--metrics-export-port=8080", "--object-store-memory=100000000"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def main(folder: Path) -> dict[str, Any]:
    """Start, deploy, ask."""
    token = secrets.token_hex(32)
    start_ray(token)
    config = folder / "etc" / "config" / "serve_config.yaml"
    found: dict[str, Any] = {
        "user": [os.getuid(), os.getgid()],
        "writable": writable("/", "/etc", "/usr", "/var", str(Path.cwd()), sys.prefix, "/tmp", "/dev/shm"),  # noqa: S108
        "healthy": wait_for(HEALTH, "success", START_WITHIN_S),
        "dashboard_without_token": ask(DASHBOARD)[0],
    }
    content = json.loads((folder / "serve.json").read_text(encoding="utf-8"))
    found["handed_over"] = ask(DASHBOARD, token=token, body=content, method="PUT")[0]
    found["ready"] = wait_for(f"{PROXY}/ready", '"ready":true', READY_WITHIN_S)
    found["proxy"] = ask(f"{PROXY}/-/healthz")[0]
    issued = subprocess.run(
        [sys.executable, "-m", "serve_app.cli", "token", "--subject", "me", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "qwen-sim", "messages": messages, "max_tokens": 4}
    found["answer"] = ask(
        f"{PROXY}/v1/chat/completions", token=issued.stdout.strip(), body=body, method="POST"
    )[0]
    found["figures"] = "ray_" in ask("http://127.0.0.1:8080/metrics")[1]
    found["listening"] = listening()
    logs = Path("/tmp/ray/session_latest/logs")  # noqa: S108
    texts = (file.read_text(errors="replace") for file in logs.rglob("*") if file.is_file())
    refusals = (re.findall(r".*(?:Read-only file system|Permission denied).*", text) for text in texts)
    found["refused"] = sorted({line[:200] for lines in refusals for line in lines})
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))  # noqa: T201  (it is what the test reads)

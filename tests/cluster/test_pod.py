"""The application in what a pod of the chart is: a plain user, nothing writable but its volumes.

Namespaces of this kernel stand for the pod: mounts, processes and network of its own, `/` read-only,
everything that the chart mounts below one `/tmp`. Ray, HAProxy with the chart's wrapper, the ingress and the
registry are real, the engine is simulated.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.objects import one, pod_templates, simulated

ROOT = Path(__file__).resolve().parents[2]
USER = 10001
POD = Path("/tmp/pod")  # noqa: S108
PLACES = {
    "/etc/qwen-serve": f"{POD}/etc",
    "/var/lib/qwen-serve": f"{POD}/state",
    "/var/cache/qwen-serve": f"{POD}/cache",
    "/home/qwen": f"{POD}/home",
}
"""Where the chart mounts something, and where it is here."""

INSIDE = """\
set -e
ip link set lo up
mount --bind {root} /mnt
mount -t tmpfs -o size=1g tmpfs /dev/shm
mkdir /dev/shm/stage && cp -r {stage}/. /dev/shm/stage
mount -t tmpfs -o mode=1777,size=4g tmpfs /tmp
case {root}/ in /tmp/*) mkdir -p {root} && mount --bind /mnt {root} ;; esac
mv /dev/shm/stage {pod}
mkdir {pod}/state {pod}/cache {pod}/home
chown -R {user}:{user} {pod}
chown -R root:{user} {pod}/etc/secrets && chmod 0550 {pod}/etc/secrets && chmod 0440 {pod}/etc/secrets/*
chmod 0555 {pod}/etc/haproxy/*
mount -o remount,ro,bind /
cd {root}
. {pod}/environment
exec setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs \\
  --bounding-set=-all --inh-caps=-all {python} -m tests.cluster.pod_inside {pod}
"""


def why_not() -> str:
    """Why it cannot run here; nothing when it can."""
    if os.getuid() != 0 or not all(shutil.which(tool) for tool in ("unshare", "setpriv", "ip", "openssl")):
        return "needs root, unshare, setpriv, ip and openssl"
    tried = subprocess.run(["unshare", "-m", "-n", "-p", "-f", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        return f"namespaces are not allowed: {tried.stderr.decode().strip()}"
    probe = [
        "setpriv",
        f"--reuid={USER}",
        f"--regid={USER}",
        "--clear-groups",
        sys.executable,
        "-c",
        "import ray",
    ]
    if subprocess.run(probe, capture_output=True, check=False, cwd=ROOT).returncode != 0:
        return f"user {USER} may not read {sys.prefix}"
    return ""


REASON = why_not()
pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(REASON), reason=REASON)]


def moved(text: str) -> str:
    """Paths of the chart as they are here."""
    for chart, here in PLACES.items():
        text = text.replace(chart, here)
    return text


def write_stage(stage: Path) -> None:
    """What Kubernetes would mount, and the environment of the ingress's and a GPU pod."""
    found = simulated()
    for folder in ("secrets", "haproxy", "config"):
        (stage / "etc" / folder).mkdir(parents=True)
    for name, text in one(found, "ConfigMap", "qwen-serve-haproxy")["data"].items():
        (stage / "etc" / "haproxy" / name).write_text(moved(text), encoding="utf-8")
    config = moved(one(found, "ConfigMap", "qwen-serve-config")["data"]["serve_config.yaml"])
    (stage / "etc" / "config" / "serve_config.yaml").write_text(config, encoding="utf-8")
    (stage / "serve.json").write_text(json.dumps(yaml.safe_load(config)), encoding="utf-8")
    (stage / "etc" / "secrets" / "signing").write_text(os.urandom(32).hex(), encoding="ascii")
    key = [
        "openssl",
        "genpkey",
        "-algorithm",
        "ed25519",
        "-out",
        str(stage / "etc" / "secrets" / "audit-key"),
    ]
    subprocess.run(key, check=True, capture_output=True)
    groups = dict(pod_templates(found))
    variables = [
        variable
        for group in ("ingress", "a10")
        for variable in groups[group]["spec"]["containers"][0]["env"]
        if "value" in variable
    ]
    lines = [f"export {item['name']}={shlex.quote(moved(item['value']))}" for item in variables]
    path = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    own = [
        path,
        f"export PYTHONPATH={shlex.quote(os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))}",
    ]
    own += ["export PYTHONDONTWRITEBYTECODE=1", "unset RAY_ADDRESS RAY_TMPDIR RAY_NAMESPACE"]
    (stage / "environment").write_text("\n".join([*lines, *own, ""]), encoding="utf-8")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    stage = tmp_path_factory.mktemp("pod")
    write_stage(stage)
    script = INSIDE.format(
        root=shlex.quote(str(ROOT)),
        stage=shlex.quote(str(stage)),
        pod=POD,
        user=USER,
        python=shlex.quote(sys.executable),
    )
    command = ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child", "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_user_is_the_charts_and_nothing_but_volumes_is_writable(found: dict[str, Any]) -> None:
    security = dict(pod_templates(simulated()))["ingress"]["spec"]["securityContext"]
    assert found["user"] == [security["runAsUser"], security["runAsGroup"]] == [USER, USER]
    assert found["writable"] == ["/tmp", "/dev/shm"]  # noqa: S108


def test_application_serves_from_there(found: dict[str, Any]) -> None:
    assert found["ready"]
    assert found["answer"] == 200
    assert found["refused"] == []


def test_probes_are_answered_without_a_token_and_the_dashboard_is_not(found: dict[str, Any]) -> None:
    assert found["healthy"]
    assert found["proxy"] == 200
    assert found["dashboard_without_token"] == 401
    assert found["handed_over"] == 200


def test_figures_are_there_to_be_scraped_and_haproxys_ports_stay_inside(found: dict[str, Any]) -> None:
    assert found["figures"]
    assert "0.0.0.0:8000" in found["listening"]
    assert {"127.0.0.1:8404", "127.0.0.1:9101"} <= set(found["listening"])
    assert not {"0.0.0.0:8404", "0.0.0.0:9101"} & set(found["listening"])

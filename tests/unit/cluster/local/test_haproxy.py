"""HAProxy of a session, with the configuration that Ray writes for it and the real program."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ray.serve._private.haproxy import HAProxyApi, HAProxyConfig
from ray.serve.config import HTTPOptions

from cluster.local import haproxy
from cluster.local.failure import LaunchFailed
from cluster.local.haproxy import METRICS_PORT, STATS_PORT, HaProxy
from cluster.local.serve_file import ServeFile
from cluster.local.session import Session

_BODY = b'{"error": {}}'
_LONGEST_SOCKET_PATH = 107
_NODE_ID = "f" * 56


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session("an-id", 1, tmp_path / "run", tmp_path, 8017)
    session.private_dir.mkdir()
    return session


@pytest.fixture
def prepare(session: Session) -> Callable[..., dict[str, str]]:
    def prepare(host: str = "127.0.0.1", tls: bool = False, **base: str) -> dict[str, str]:
        file = ServeFile(Path("serve_config.yaml"), host, 8017, (), tls)
        return HaProxy(_BODY).prepare(session, file, base)

    return prepare


def configuration_of_ray(env: dict[str, str], folder: Path) -> Path:
    """What Ray writes for HAProxy in this environment, without any application."""
    config = HAProxyConfig(
        http_options=HTTPOptions(host="0.0.0.0", port=8017),
        stats_port=int(env[STATS_PORT]),
        metrics_port=int(env[METRICS_PORT]),
        socket_path=str(folder / "ctl"),
        server_state_base=str(folder),
        server_state_file=str(folder / "server-state"),
        metrics_socket_path=str(folder / "log"),
    )
    path = folder / "haproxy.cfg"
    HAProxyApi(cfg=config, config_file_path=str(path))._generate_config_file_internal()
    return path


def test_statistics_and_metrics_are_for_this_machine_only(
    prepare: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    env = prepare()
    path = configuration_of_ray(env, tmp_path)

    script = env["RAY_SERVE_HAPROXY_BINARY_PATH"]
    for _ in range(2):  # Ray starts it again with every change.
        subprocess.run([script, "-db", "-f", str(path), "-c"], check=True)

    binds = re.findall(r"^ *bind (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(binds) == sorted(
        ["*:8017", f"127.0.0.1:{env[STATS_PORT]}", f"127.0.0.1:{env[METRICS_PORT]}"]
    )


def test_error_page_is_the_one_of_this_api(prepare: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    env = prepare()
    path = configuration_of_ray(env, tmp_path)
    subprocess.run(
        [env["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(path), "-c"], check=True, capture_output=True
    )

    pages = set(re.findall(r"errorfile \d+ (\S+)", path.read_text(encoding="utf-8")))
    head, _, body = Path(pages.pop()).read_bytes().partition(b"\r\n\r\n")
    assert not pages
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Content-Type: application/json" in head
    assert b"Retry-After:" in head
    assert body == _BODY


def test_sockets_of_haproxy_fit_below_the_longest_temporary_folder() -> None:
    folder = Path("/tmp/" + "x" * 15) / "qs-12345678p"  # noqa: S108
    files = haproxy._files(folder)

    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(files[name])
        assert len(str(path.parent / _NODE_ID / f"{path.name}.4194304.tmp")) <= _LONGEST_SOCKET_PATH


def test_taken_port_is_passed_over(prepare: Callable[..., dict[str, str]]) -> None:
    first = prepare()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(first[STATS_PORT])))
        holder.listen()

        second = prepare()

    assert int(second[STATS_PORT]) > int(first[STATS_PORT])
    assert second[METRICS_PORT] == first[METRICS_PORT]


def test_taken_port_that_was_asked_for_is_named_with_its_setting(
    prepare: Callable[..., dict[str, str]],
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(LaunchFailed, match=rf"port {port} is taken .*{METRICS_PORT}=<port>"):
            prepare(**{METRICS_PORT: str(port)})


def test_port_that_is_no_number_is_refused(prepare: Callable[..., dict[str, str]]) -> None:
    with pytest.raises(LaunchFailed, match=f"{STATS_PORT} is no port: 'abc'"):
        prepare(**{STATS_PORT: "abc"})


def test_address_on_which_replicas_are_not_reached_is_refused(prepare: Callable[..., dict[str, str]]) -> None:
    prepare(host="0.0.0.0")

    with pytest.raises(LaunchFailed, match=r"cannot serve on 192\.0\.2\.7 alone; .*--no-haproxy"):
        prepare(host="192.0.2.7")


def test_certificate_is_refused(prepare: Callable[..., dict[str, str]]) -> None:
    with pytest.raises(LaunchFailed, match=r"ssl_\* .*--no-haproxy"):
        prepare(tls=True)


def test_missing_program_names_the_way_out(
    prepare: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/no/such/haproxy")

    with pytest.raises(LaunchFailed, match=r"there is no HAProxy here; .*--no-haproxy"):
        prepare()


def test_limits_that_the_user_sets_stay(prepare: Callable[..., dict[str, str]]) -> None:
    env = prepare(RAY_SERVE_HAPROXY_NBTHREAD="7")

    assert env["RAY_SERVE_HAPROXY_NBTHREAD"] == "7"
    assert env["RAY_SERVE_ENABLE_HA_PROXY"] == "1"

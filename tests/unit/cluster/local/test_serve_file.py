"""What the launcher reads of a Serve configuration, and the one that it derives."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cluster.local import serve_file
from cluster.local.failure import LaunchFailed
from cluster.local.serve_file import Overrides

_TEXT = """
http_options: {host: 0.0.0.0, port: 8000}
applications:
  - name: qwen-serve
    import_path: serve_app.app:build_app
    args:
      models:
        - {id: chat, source: models/chat, kind: text}
        - {id: hub, source: Qwen/Qwen2.5-0.5B-Instruct, kind: text}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "serve_config.yaml"
    file.write_text(_TEXT)
    return file


def test_reads_address_and_models(path: Path) -> None:
    file = serve_file.read(path)

    assert file.base_url == "http://127.0.0.1:8000", "0.0.0.0 is no address to connect to"
    assert [(model.id, model.folder) for model in file.models] == [
        ("chat", Path("models/chat")),
        ("hub", None),
    ]
    assert file.needs_hub


def test_another_port_leaves_everything_else_as_it_is(path: Path, tmp_path: Path) -> None:
    derived = serve_file.read(path).derived(Overrides(8001), tmp_path / "state" / "serve_config.yaml")

    original, changed = yaml.safe_load(path.read_text()), yaml.safe_load(derived.path.read_text())
    assert derived.port == 8001
    assert changed.pop("http_options") == {"host": "0.0.0.0", "port": 8001}
    original.pop("http_options")
    assert changed == original


def test_missing_http_options_mean_ray_serves_defaults(path: Path) -> None:
    path.write_text("applications: []")

    assert serve_file.read(path).base_url == "http://127.0.0.1:8000"


def test_certificate_is_seen(path: Path) -> None:
    assert not serve_file.read(path).ray_tls

    path.write_text(_TEXT.replace("port: 8000", "port: 8000, ssl_certfile: a.pem"))
    assert serve_file.read(path).ray_tls


def test_ipv6_address_is_bracketed(path: Path) -> None:
    path.write_text("http_options: {host: '::1', port: 8000}\napplications: []")

    assert serve_file.read(path).base_url == "http://[::1]:8000"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"line 1 is not valid YAML|line 2 is not valid YAML"),
        ("- 1", "it has no `applications`"),
        ("applications: [{args: {models: [{id: a}]}}]", "`qwen-serve check .*` says where"),
        ("applications: 7", "`qwen-serve check .*` says where"),
    ],
)
def test_unfit_file_is_refused_in_one_line(path: Path, text: str, message: str) -> None:
    path.write_text(text)

    with pytest.raises(LaunchFailed, match=message) as refused:
        serve_file.read(path)
    assert "\n" not in str(refused.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LaunchFailed, match=r"cannot read the configuration .*none\.yaml: No such file"):
        serve_file.read(tmp_path / "none.yaml")

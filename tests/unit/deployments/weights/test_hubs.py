"""hf:// with the real library against a local hub; modelscope:// against a stand-in for its library."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.hf_api
import pytest
from huggingface_hub import constants

from deployments.weights import ModelStore, WeightsConfig
from deployments.weights.errors import (
    AccessRefused,
    ChecksumMismatch,
    LibraryMissing,
    ObjectMissing,
    SourceUnreachable,
)
from deployments.weights.inventory import Digest

_COMMIT = "c" * 40
_FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 100}


class _Hub(BaseHTTPRequestHandler):
    """What the library asks of a hub for one model."""

    status = 200
    code = ""
    spoilt = False
    asked: list[str]

    def do_GET(self) -> None:
        self._answer(send=True)

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, send: bool) -> None:
        self.asked.append(f"{self.command} {self.path}")
        head: dict[str, str] = {}
        if self.path.startswith("/api/models/"):
            body = json.dumps({"id": "Qwen/x", "sha": _COMMIT, "siblings": list(_siblings())}).encode()
        else:
            name = self.path.rpartition("/")[2]
            body = _FILES[name]
            head = {"ETag": f'"{_etag(name)}"', "X-Repo-Commit": _COMMIT}
            body = body.upper() if self.spoilt else body
        self.send_response(self.status)
        for key, value in {**head, "X-Error-Code": self.code, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if send:
            self.wfile.write(body)


def _etag(name: str) -> str:
    if name.endswith(".safetensors"):
        return hashlib.sha256(_FILES[name]).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(_FILES[name]) + _FILES[name], usedforsecurity=False).hexdigest()


def _siblings() -> Iterator[dict[str, Any]]:
    for name, content in _FILES.items():
        large = {"lfs": {"sha256": _etag(name), "size": len(content), "pointerSize": 1}}
        yield {
            "rfilename": name,
            "size": len(content),
            "blobId": _etag(name),
            **(large if name.endswith(".safetensors") else {}),
        }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    handler = type("Hub", (_Hub,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    # The library has read HF_ENDPOINT when another test imported it.
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", address)
    yield handler
    server.shutdown()
    server.server_close()


def test_model_of_the_hub_arrives_verified_and_without_the_librarys_notes(
    store: ModelStore, hub: type[_Hub]
) -> None:
    folder = store.ensure("hf://Qwen/x").folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == _FILES
    assert any(f"/resolve/{_COMMIT}/" in line for line in hub.asked)
    asked = len(hub.asked)
    store.ensure("hf://Qwen/x@main").release()
    store.ensure("hf://Qwen/x").release()
    assert any("/revision/main" in line for line in hub.asked[asked:])


def test_content_that_is_not_the_hubs_is_refused(
    store: ModelStore, hub: type[_Hub], config: WeightsConfig
) -> None:
    hub.spoilt = True
    with pytest.raises(ChecksumMismatch, match=r"hf://Qwen/x/model\.safetensors: its content is sha256:"):
        store.ensure("hf://Qwen/x")
    hub.spoilt = False
    assert store.ensure("hf://Qwen/x").folder.is_dir()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        # Without a token, the hub does not tell what is private from what is not there.
        (401, "RepoNotFound", ObjectMissing),
        (401, "", AccessRefused),
        (403, "GatedRepo", AccessRefused),
        (404, "RevisionNotFound", ObjectMissing),
        (404, "", ObjectMissing),
        (500, "", SourceUnreachable),
    ],
)
def test_what_the_hub_refuses(
    store: ModelStore, hub: type[_Hub], status: int, code: str, kind: type[Exception]
) -> None:
    hub.status, hub.code = status, code
    with pytest.raises(kind, match="hf://Qwen/x: "):
        store.ensure("hf://Qwen/x")


def _modelscope(monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None]) -> list[str]:
    """A stand-in for the library: the two calls that are used, with the answers of its source code."""
    asked: list[str] = []

    class HubApi:
        def get_model_files(self, model_id: str, revision: str, recursive: bool) -> list[dict[str, Any]]:
            fail()
            assert recursive
            files = [
                {"Path": name, "Type": "blob", "Size": len(body), "Sha256": hashlib.sha256(body).hexdigest()}
                for name, body in _FILES.items()
            ]
            return [{"Path": "folder", "Type": "tree", "Size": 0, "Sha256": ""}, *files]

    def model_file_download(model_id: str, file_path: str, revision: str, local_dir: str) -> str:
        asked.append(f"{model_id}@{revision}/{file_path}")
        (Path(local_dir) / file_path).write_bytes(_FILES[file_path])
        return str(Path(local_dir) / file_path)

    modules: dict[str, dict[str, Any]] = {
        "modelscope": {},
        "modelscope.hub": {},
        "modelscope.hub.api": {"HubApi": HubApi},
        "modelscope.hub.file_download": {"model_file_download": model_file_download},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return asked


def test_model_of_modelscope_arrives(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _modelscope(monkeypatch, lambda: None)
    folder = store.ensure("modelscope://Qwen/x@v1").folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == _FILES
    assert sorted(asked) == [f"Qwen/x@v1/{name}" for name in sorted(_FILES)]


def test_what_modelscope_refuses(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class NotExistError(Exception):
        pass

    def fail() -> None:
        raise NotExistError

    _modelscope(monkeypatch, fail)
    with pytest.raises(ObjectMissing, match="modelscope://Qwen/x: not on ModelScope"):
        store.ensure("modelscope://Qwen/x")


def test_library_that_is_not_installed_is_named(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(LibraryMissing, match="pip install modelscope"):
        store.ensure("modelscope://Qwen/x")


def test_digest_of_a_small_file_is_gits() -> None:
    assert Digest("git-sha1", _etag("config.json")).value == "9e26dfeeb6e641a33dae4961196235bdb965b21b"

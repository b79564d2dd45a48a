"""Models and data sets by the hub's names, with the real library against a local hub."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from quantize.errors import QuantizeError
from quantize.hub import calibration_file, checkpoint_folder

_COMMIT = "c" * 40
_FILES = {"config.json": b"{}", "model.safetensors": b"weights", "weights.bin": b"old"}
_DATA = {
    "one": {"data/set.jsonl": b'{"text": "a"}\n', "README.md": b"#"},
    "two": {"a.txt": b"a", "b.txt": b"b"},
}


class _Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        files = next((f for name, f in _DATA.items() if f"/datasets/Qwen/{name}" in self.path), _FILES)
        _, _, name = self.path.partition(f"/resolve/{'main' if '/main/' in self.path else _COMMIT}/")
        known = "/Qwen/" in self.path and (not name or name in files)
        siblings = [{"rfilename": file} for file in files]
        about = {"id": "Qwen/x", "sha": _COMMIT, "siblings": siblings}
        tree = [{"type": "file", "path": file, "size": len(files[file]), "oid": "0"} for file in files]
        listing = json.dumps(tree if "/tree/" in self.path else about).encode()
        body = (files[name] if name else listing) if known else b""
        self.send_response(200 if known else 404)
        digest = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", _COMMIT)
        self.send_header("X-Error-Code", "" if known else "RepoNotFound")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield
    server.shutdown()
    server.server_close()


def test_folder_and_file_of_this_machine_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text("")
    assert checkpoint_folder(str(tmp_path)) == tmp_path
    assert calibration_file(str(file)) == file


def test_path_that_is_not_there_is_left_to_whoever_reads_it() -> None:
    assert checkpoint_folder("/no/such/folder") == Path("/no/such/folder")
    assert calibration_file("no-such.jsonl") == Path("no-such.jsonl")


def test_model_of_the_hub_comes_without_old_weights() -> None:
    folder = checkpoint_folder("Qwen/x")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_only_file_of_a_data_set_is_found() -> None:
    assert calibration_file("Qwen/one").read_bytes() == b'{"text": "a"}\n'


def test_file_of_a_data_set_by_its_name() -> None:
    assert calibration_file("Qwen/two:b.txt").read_bytes() == b"b"


def test_one_of_several_files_must_be_named() -> None:
    with pytest.raises(QuantizeError, match=r"Qwen/two has 2 files .*name one: Qwen/two:FILE"):
        calibration_file("Qwen/two")


def test_what_the_hub_has_not_is_told_in_one_line() -> None:
    for fetch in (checkpoint_folder, calibration_file):
        with pytest.raises(QuantizeError, match="and the hub does not give it") as error:
            fetch("nobody/nothing")
        assert "\n" not in str(error.value)

"""A real S3 server (moto) behind a gate that counts requests, slows them down and breaks them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


@dataclass(frozen=True)
class Seen:
    """A request: its method, its path and its range, ``bytes=0-9`` or empty."""

    method: str
    path: str
    range: str


Fault = Callable[[Seen], "tuple[int, str] | int | None"]
"""What happens to a request: an HTTP status with S3's error code, a number of bytes after which it breaks, or
nothing."""


def _none(_: Seen) -> None:
    return None


@dataclass
class Gate:
    """Everything that goes to the server passes here."""

    app: Any
    seen: list[Seen] = field(default_factory=list)
    pause_s: float = 0
    fault: Fault = _none

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        seen = Seen(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_RANGE", ""))
        self.seen.append(seen)
        fault = self.fault(seen)
        if isinstance(fault, tuple):
            status, code = fault
            start(f"{status} x", [("Content-Type", "application/xml")])
            body = f"<Error><Code>{code}</Code><Message>told to</Message></Error>"
            return [] if seen.method == "HEAD" else [body.encode()]
        if seen.range and self.pause_s:
            time.sleep(self.pause_s)
        answer: Iterable[bytes] = self.app(environ, start)
        return answer if fault is None else _cut(answer, fault)

    def parts(self) -> list[Seen]:
        """Reads of model files' parts."""
        return [seen for seen in self.seen if seen.range and "manifest" not in seen.path]

    @contextmanager
    def breaks(self, fault: Fault) -> Iterator[None]:
        """Break requests for a while."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = _none


def _cut(answer: Iterable[bytes], length: int) -> Iterator[bytes]:
    yield b"".join(answer)[:length]
    # The server notices that it promised more, and closes the connection.
    raise ConnectionAbortedError


class _Quiet(WSGIRequestHandler):
    """Keeps the tests' output readable."""

    def log(self, *_: object) -> None:
        pass

    def log_error(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[tuple[str, Gate]]:
    """Run the server; its address and its gate."""
    gate = Gate(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, gate, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", gate
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

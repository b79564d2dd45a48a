"""Headers that must not reach Ray's proxy."""

from __future__ import annotations

import pytest
from starlette.types import Message, Receive, Scope, Send

from serve_app.proxy import middlewares


async def passed(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    seen: list[tuple[bytes, bytes]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(scope["headers"])

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    (middleware,) = middlewares()
    await middleware.cls(app)({"type": "http", "headers": list(headers)}, receive, send)  # type: ignore[call-arg]
    return seen


@pytest.mark.parametrize(
    "header",
    [
        (b"x-request-timeout-seconds", b"0.0001"),
        (b"X_Request_Timeout_Seconds", b"1"),
        (b"x-request-disconnect-disabled", b"?1"),
        (b"serve_multiplexed_model_id", b"m"),
        (b"serve-multiplexed-model-id", b"\xff"),
        (b"x-request-id", b"\xff"),
        (b"x-request-id", b"two words"),
        (b"x-request-id", b"a" * 129),
        (b"x-session-id", b"\xff"),
    ],
)
async def test_header_that_steers_serve_is_dropped(header: tuple[bytes, bytes]) -> None:
    kept = (b"authorization", b"Bearer x")
    assert await passed(header, kept) == [kept]


@pytest.mark.parametrize(
    "header",
    [(b"x-request-id", b"order-66"), (b"x-session-id", b"s1"), (b"traceparent", b"\xff"), (b"host", b"h")],
)
async def test_other_headers_pass(header: tuple[bytes, bytes]) -> None:
    assert await passed(header) == [header]

"""The audit on a request's way in: one that can leave no record goes no further."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app import errors, observation
from serve_app.audit_recorder import AuditRecorder
from serve_app.observation import Observation


class AuditGate:
    """Middleware: notes where each request comes from, and refuses those that can leave no record.

    Args:
        app: The application.
        audit: Says whether there is room for a record.
        address_of: The client's address, as far as it is known.
        exempt: Paths of probes, which are answered whatever happens.
    """

    def __init__(
        self,
        app: ASGIApp,
        audit: AuditRecorder,
        address_of: Callable[[Request], str | None],
        exempt: Collection[str],
    ) -> None:
        self._app = app
        self._audit = audit
        self._address_of = address_of
        self._exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through.

        Raises:
            Unrecordable: It cannot be recorded.
        """
        if scope["type"] == "http":
            self._audit.expect()
            seen = observation.of(scope)
            seen.address = self._address_of(Request(scope)) or ""
            if scope["path"] not in self._exempt and not self._audit.admit():
                raise errors.Unrecordable(
                    "This server cannot record requests now, and takes none without; try again shortly.",
                    headers={"retry-after": "5"},
                )
            if self._audit.content_bytes:
                receive, send = _keeping(seen, self._audit.content_bytes, receive, send)
        await self._app(scope, receive, send)


def _keeping(seen: Observation, most: int, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """The same, but what passes is kept for the record, up to so many bytes each way."""
    prompt, answer = seen.prompt, seen.answer = bytearray(), bytearray()

    async def keeping_receive() -> Message:
        message = await receive()
        prompt.extend(message.get("body", b"")[: most - len(prompt)])
        return message

    async def keeping_send(message: Message) -> None:
        await send(message)
        answer.extend(message.get("body", b"")[: most - len(answer)])

    return keeping_receive, keeping_send

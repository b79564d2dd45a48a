"""Where something that speaks OpenAI's API listens, and the request that it is measured with."""

from __future__ import annotations

import json
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
"""The only address that is measured."""

_PROMPT = "Tell me a short story."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI endpoint on this machine.

    Attributes:
        port: Its port on the loopback address.
        token: Sent as bearer token.
        model: The model to ask for.
    """

    port: int
    token: str
    model: str

    @property
    def base_url(self) -> str:
        """For clients that take a URL, with ``/v1``."""
        return f"http://{LOOPBACK}:{self.port}/v1"

    def body(self, tokens: int) -> bytes:
        """A chat request whose answer has exactly so many tokens, streamed, with the usage at its end."""
        return json.dumps(
            {
                "model": self.model,
                "messages": [{"role": "user", "content": _PROMPT}],
                "max_tokens": tokens,
                "ignore_eos": True,
                "temperature": 0,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()

    def request(self, tokens: int) -> bytes:
        """That request as HTTP, for a connection of its own."""
        body = self.body(tokens)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {LOOPBACK}:{self.port}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

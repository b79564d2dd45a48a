"""Clients that remember of each request what they saw of it; a part of the test of the audit."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx

CHAT_PATH = "/v1/chat/completions"
BLOCKED = "制造炸弹"
NAME = "audit-test"
"""Begin of the ids of all requests."""
BEGUN_WITHIN_S = 180


class Saw(StrEnum):
    """What a client saw of a request."""

    ANSWER = "an answer of the ingress, good or not"
    LEFT = "the begin of a stream that it then left"
    REFUSAL = "that the audit has no room"
    NOTHING = "a connection that broke, or an error of the proxy's own"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request.

    Attributes:
        request_id: Unlike any other's.
        saw: What came of it.
        ended: Monotonic clock, seconds.
        status: Of HTTP; 0 where none came.
        tokens: Of prompt and answer, where the client was told.
    """

    request_id: str
    saw: Saw
    ended: float
    status: int = 0
    tokens: int = 0


class Clients:
    """Ask one thing after the other, all at once, until they are told to stop.

    Args:
        url: Of the application.
        token: For any user.
        count: How many.
    """

    def __init__(self, url: str, token: str, count: int) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=120
        )
        self._count = count
        self._asking: list[asyncio.Task[None]] = []
        self._stopping = False
        self._streams = 0
        self.seen: list[Seen] = []
        self.with_bad_key = False

    def start(self) -> None:
        """Begin to ask."""
        self._asking = [asyncio.create_task(self._ask(number)) for number in range(self._count)]

    async def begin_streams(self, count: int, max_tokens: int) -> None:
        """Begin as many long streams; each has had its first event when this returns."""
        begun = [asyncio.Event() for _ in range(count)]
        for event in begun:
            self._streams += 1
            request_id = f"{NAME}-stream-{self._streams}"
            streaming = self._remember(self._stream(request_id, _body(max_tokens), begun=event), request_id)
            self._asking.append(asyncio.create_task(streaming))
        async with asyncio.timeout(BEGUN_WITHIN_S):
            await asyncio.gather(*(event.wait() for event in begun))

    async def stop(self) -> None:
        """Let each request come to its end."""
        self._stopping = True
        await asyncio.gather(*self._asking)
        await self._http.aclose()

    def of(self, saw: Saw) -> list[Seen]:
        """The requests of which this was seen."""
        return [seen for seen in self.seen if seen.saw is saw]

    async def _ask(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311  (which request comes next, no secrets)
        asked = 0
        while not self._stopping:
            asked += 1
            request_id = f"{NAME}-{number}-{asked}"
            body = _body(chance.randint(1, 40))
            kinds = ["whole", "stream", "left", "invalid", "unknown", "blocked", "list"]
            kind = chance.choice([*kinds, "bad key"] if self.with_bad_key else kinds)
            await self._remember(self._one(kind, request_id, body), request_id)
            await asyncio.sleep(chance.uniform(0.01, 0.1))  # so that two cores do something else too

    async def _remember(self, asking: Awaitable[Seen], request_id: str) -> None:
        try:
            self.seen.append(await asking)
        except httpx.HTTPError:
            self.seen.append(Seen(request_id, Saw.NOTHING, time.monotonic()))

    async def _one(self, kind: str, request_id: str, body: dict[str, Any]) -> Seen:
        headers = {"x-request-id": request_id}
        match kind:
            case "stream" | "left":
                return await self._stream(request_id, body, leaves=kind == "left")
            case "invalid":
                body |= {"n": 0}
            case "unknown":
                body |= {"model": "nowhere"}
            case "blocked":
                body |= {"messages": [{"role": "user", "content": BLOCKED}]}
            case "bad key":
                headers["authorization"] = "Bearer nothing"
            case "list":
                return _seen(request_id, await self._http.get("/v1/models", headers=headers))
            case _:
                pass
        return _seen(request_id, await self._http.post(CHAT_PATH, json=body, headers=headers))

    async def _stream(
        self,
        request_id: str,
        body: dict[str, Any],
        *,
        leaves: bool = False,
        begun: asyncio.Event | None = None,
    ) -> Seen:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with self._http.stream(
            "POST", CHAT_PATH, json=body, headers={"x-request-id": request_id}
        ) as response:
            if response.status_code != 200:
                await response.aread()
                return _seen(request_id, response)
            text = ""
            async for chunk in response.aiter_text():
                text += chunk
                if begun is not None:
                    begun.set()
                if leaves:
                    return Seen(request_id, Saw.LEFT, time.monotonic(), 200)
        whole = text.rstrip().endswith("data: [DONE]")
        return Seen(request_id, Saw.ANSWER if whole else Saw.NOTHING, time.monotonic(), 200)


def _body(max_tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Tell me a short story."}]
    return {"model": "simulated-chat", "messages": messages, "max_tokens": max_tokens}


def _seen(request_id: str, response: httpx.Response) -> Seen:
    now, status = time.monotonic(), response.status_code
    # The ingress tells its time with every answer; a proxy that answers itself does not.
    if "server-timing" not in response.headers:
        return Seen(request_id, Saw.NOTHING, now, status)
    said = json.loads(response.content)
    if "error" in said and said["error"]["code"] == "audit_unavailable":
        return Seen(request_id, Saw.REFUSAL, now, status)
    return Seen(request_id, Saw.ANSWER, now, status, said.get("usage", {}).get("total_tokens", 0))

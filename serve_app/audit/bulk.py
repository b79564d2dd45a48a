"""Elasticsearch, as far as the shipper needs it: ``_bulk`` with ``create``, and what is installed once."""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import aiohttp

from serve_app.audit.config import ElasticsearchConfig

_CONFLICT: Final = 409
_TOO_MANY: Final = 429
_FIRST_SERVER_ERROR: Final = 500
_REASON_CHARS: Final = 300


class ElasticsearchError(Exception):
    """A request that failed as a whole. The message is a sentence.

    Attributes:
        too_large: A smaller one may do.
        retry_after_s: What the server asks to wait, seconds.
    """

    def __init__(self, message: str, *, too_large: bool = False, retry_after_s: float = 0) -> None:
        super().__init__(message)
        self.too_large = too_large
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Item:
    """A document on its way.

    Attributes:
        index: Where it goes.
        id: Its id there.
        content: The document as JSON.
    """

    index: str
    id: str
    content: bytes

    def encode(self) -> bytes:
        """Its two lines of a bulk request."""
        action = json.dumps({"create": {"_index": self.index, "_id": self.id}}, separators=(",", ":"))
        return action.encode() + b"\n" + self.content + b"\n"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one document.

    Attributes:
        status: HTTP status of the item.
        reason: Elasticsearch's words, if it was not taken.
    """

    status: int
    reason: str = ""

    @property
    def stored(self) -> bool:
        """Whether it is in the index; 409 says that it already was."""
        return self.status < 300 or self.status == _CONFLICT

    @property
    def retriable(self) -> bool:
        """Whether the same document may be taken later."""
        return self.status == _TOO_MANY or self.status >= _FIRST_SERVER_ERROR


class Elasticsearch:
    """A client. Belongs to one event loop.

    Args:
        config: Where it is.

    Raises:
        OSError: The API key or the certificates cannot be read.
    """

    def __init__(self, config: ElasticsearchConfig) -> None:
        self._config = config
        self._url = config.url.rstrip("/")
        self._headers = {"User-Agent": "qwen-serve"}
        if config.api_key_file is not None:
            key = config.api_key_file.read_text(encoding="ascii").strip()
            self._headers["Authorization"] = f"ApiKey {key}"
        self._tls = ssl.create_default_context(cafile=config.ca_file) if config.ca_file else True
        self._session: aiohttp.ClientSession | None = None

    async def create(self, items: Sequence[Item]) -> list[Result]:
        """Store documents, each unless its id is there already.

        Raises:
            ElasticsearchError: The whole request failed; some of them may be stored all the same.
        """
        body = b"".join(item.encode() for item in items)
        said = await self._send("POST", "/_bulk", body, "application/x-ndjson")
        try:
            results = [_result(each["create"], item) for each, item in zip(said["items"], items, strict=True)]
        except (KeyError, TypeError, ValueError) as error:
            raise ElasticsearchError("The answer to a bulk request is not Elasticsearch's.") from error
        return results

    async def install(self) -> None:
        """Put the lifecycle policy and the index template in their places.

        Raises:
            ElasticsearchError: It was not taken.
        """
        index = self._config.index
        policy = _package_file("ilm-policy.json")
        template = _package_file("index-template.json")
        template["index_patterns"] = [f"{index}-*"]
        template["template"]["settings"]["index"]["lifecycle"] = {"name": index}
        for path, content in ((f"/_ilm/policy/{index}", policy), (f"/_index_template/{index}", template)):
            await self._send("PUT", path, json.dumps(content).encode(), "application/json")

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(self, method: str, path: str, body: bytes, media_type: str) -> Any:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._config.timeout_s)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout, trust_env=False)
        headers = {"Content-Type": media_type}
        try:
            async with self._session.request(
                method, self._url + path, data=body, headers=headers, ssl=self._tls, allow_redirects=False
            ) as response:
                answer = await response.read()
                if response.status >= 300:
                    raise _refused(response, answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ElasticsearchError(
                f"Elasticsearch at {self._url} does not answer: {type(error).__name__} {error}."
            ) from error
        try:
            return json.loads(answer)
        except ValueError as error:
            raise ElasticsearchError(f"What answers at {self._url} is not Elasticsearch.") from error


def _refused(response: aiohttp.ClientResponse, answer: bytes) -> ElasticsearchError:
    words = answer[:_REASON_CHARS].decode(errors="replace")
    after = response.headers.get("Retry-After", "")
    return ElasticsearchError(
        f"Elasticsearch answered with status {response.status}: {words}",
        too_large=response.status == 413,
        retry_after_s=float(after) if after.isdecimal() else 0,
    )


def _result(said: dict[str, Any], item: Item) -> Result:
    if said["_id"] != item.id:
        raise ValueError("answers in another order")
    error = said.get("error") or {}
    reason = f"{error.get('type', '')}: {error.get('reason', '')}" if error else ""
    return Result(int(said["status"]), reason[:_REASON_CHARS])


def _package_file(name: str) -> dict[str, Any]:
    text = files("serve_app.audit").joinpath("elasticsearch", name).read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content

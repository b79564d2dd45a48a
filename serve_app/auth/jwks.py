"""An issuer's JWKS: fetched when needed, kept while it is good, and never asked for more than is polite."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import aiohttp

from serve_app.auth.config import IssuerConfig
from serve_app.auth.outage import AuthenticationUnavailable
from serve_app.auth.public_keys import PublicKey, PublicKeyError, read_jwks

MAX_DOCUMENT_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024

_log = logging.getLogger("ray.serve")


class Jwks:
    """The keys behind a ``jwks_url``.

    Keys older than ``jwks_refresh_s`` are fetched anew in the background; a ``kid`` that is not known is
    waited for, once per ``jwks_min_refresh_interval_s`` whatever callers send. Of callers that come
    together, one fetches. While the issuer does not answer, the last good keys hold for
    ``jwks_max_stale_s``.

    Args:
        config: The issuer.
        clock: Monotonic seconds.
    """

    def __init__(self, config: IssuerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        assert config.jwks_url is not None
        self._config = config
        self._url = config.jwks_url
        self._clock = clock
        self._keys: tuple[PublicKey, ...] = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def candidates(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The key that a token's ``kid`` names, if it fits the algorithm.

        Without ``kid`` it is the only key that fits, if there is just one.

        Raises:
            AuthenticationUnavailable: No good keys: the issuer has not answered for too long.
        """
        usable = self._are_usable()
        known = usable and self._find(kid, algorithm)
        if not usable or not known or self._age_s() > self._config.jwks_refresh_s:
            fetching = self._fetch_once()
            if fetching is not None and not known:
                # Shielded: a caller that goes away does not end the fetch that others wait for.
                await asyncio.shield(fetching)
        if not self._are_usable():
            raise AuthenticationUnavailable(
                f"The keys of the issuer {self._config.issuer} cannot be had, so its tokens cannot be "
                "checked. Try again later; the operator finds the reason in the ingress's log."
            )
        return self._find(kid, algorithm)

    async def close(self) -> None:
        """Ends a fetch and closes the connection."""
        task, self._fetching = self._fetching, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _find(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        if kid is None:
            return tuple(fitting) if len(fitting) == 1 else ()
        return tuple(key for key in fitting if key.kid == kid)

    def _are_usable(self) -> bool:
        return self._fetched_at is not None and self._age_s() <= self._config.jwks_max_stale_s

    def _age_s(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _fetch_once(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one if the last is long enough ago."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now, interval_s = self._clock(), self._config.jwks_min_refresh_interval_s
        if self._tried_at is not None and now - self._tried_at < interval_s:
            return None
        self._tried_at = now
        self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        asked_at = self._clock()
        try:
            keys = read_jwks(await self._download(), self._config.algorithms)
        except (aiohttp.ClientError, OSError, TimeoutError, PublicKeyError, ValueError) as error:
            held = "the last good keys stay in use" if self._are_usable() else "its tokens cannot be checked"
            _log.warning(
                "The keys of the issuer %s were not fetched from %s (%s: %s); %s.",
                *(self._config.issuer, self._url, type(error).__name__, error, held),
            )
        else:
            self._keys, self._fetched_at = keys, asked_at

    async def _download(self) -> bytes:
        body = bytearray()
        async with self._open_session().get(self._url, allow_redirects=False) as response:
            if response.status != 200:
                raise PublicKeyError(f"The address answered with status {response.status}.")
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise PublicKeyError(f"The document has more than {MAX_DOCUMENT_BYTES} bytes.")
        return bytes(body)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._config.jwks_timeout_s),
                headers={
                    "Accept": "application/json",
                    # No compression that could unfold.
                    "Accept-Encoding": "identity",
                    "User-Agent": "qwen-serve",
                },
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

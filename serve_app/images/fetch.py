"""Downloads of images: https only, from allowed hosts at checked addresses, within size and time."""

from __future__ import annotations

import re
import ssl

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from serve_app.errors import InvalidImage
from serve_app.images.address import AddressRefusedError, CheckedResolver
from serve_app.images.policy import HTTPS_PORT, ImagePolicy, is_host_name

_MAX_URL_CHARS = 8192
_CHUNK_BYTES = 64 * 1024
_AUTHORITY_END = re.compile("[/?#]")
_INSTEAD = "Send the image as a data: URL"


def parse_location(text: str, policy: ImagePolicy) -> URL:
    """The URL of a remote image, checked as far as possible without the network.

    The result itself is what gets fetched, so that no second parser can read another host out of `text`.

    Raises:
        InvalidImage: Not https, not well formed, with credentials, or from a host that is not allowed.
    """
    if text[:7].lower() == "http://":
        raise InvalidImage("Images are not fetched over http://. Use an https:// or a data: URL.")
    if text[:8].lower() != "https://":
        raise InvalidImage(
            "The image must be a data: URL (data:image/png;base64,...) or an https:// URL; "
            "no other scheme is accepted."
        )
    if len(text) > _MAX_URL_CHARS:
        raise InvalidImage(f"The image's URL is longer than {_MAX_URL_CHARS} characters. Use a shorter one.")
    if any(char <= " " or char in "\x7f\\" for char in text):
        raise InvalidImage(
            "The image's URL has white space, a backslash or a control character. Percent-encode it."
        )
    try:
        text.encode()  # JSON can carry lone surrogates, which no URL can.
        url = URL(text)
        host, port = (url.raw_host or "").lower().removesuffix("."), url.port or 0
    except ValueError as exc:
        raise InvalidImage("The image's URL is not well formed. Check host, port and brackets.") from exc
    if "@" in _AUTHORITY_END.split(text[8:], 1)[0]:
        raise InvalidImage("The image's URL holds credentials, which are not accepted. Use one without.")
    if not is_host_name(host):
        raise InvalidImage("The image's URL must name its host by a DNS name, not by an address.")
    if not policy.allows_host(host, port):
        shown = host if port == HTTPS_PORT else f"{host}:{port}"
        raise InvalidImage(
            f"Images from {shown} are not allowed. {_INSTEAD}; the operator may add "
            f"{shown} to images.allowed_hosts."
        )
    return url


class ImageFetcher:
    """Fetches images. The session opens with the first download.

    Args:
        policy: Hosts, networks, size and time that are allowed.
        resolver: Looks names up; the system's resolver if left out.
        ssl_context: Decides about certificates; the system's authorities if left out.
    """

    def __init__(
        self,
        policy: ImagePolicy,
        *,
        resolver: AbstractResolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: URL) -> bytes:
        """The bytes behind `url`, which `parse_location` has checked.

        Raises:
            InvalidImage: They cannot be had within the policy.
        """
        host = url.host_subcomponent
        try:
            return await self._download(url)
        except AddressRefusedError as exc:
            raise InvalidImage(
                f"The host {host} has an address that is not public. {_INSTEAD}; the operator may add "
                "its network to images.allowed_networks."
            ) from exc
        except TimeoutError as exc:
            limit = f"{self._policy.fetch_timeout_s:g} s"
            raise InvalidImage(f"The image did not arrive from {host} within {limit}. {_INSTEAD}.") from exc
        except aiohttp.ClientConnectorDNSError as exc:
            raise InvalidImage(f"The host name {host} cannot be resolved. Check the URL.") from exc
        except aiohttp.ClientSSLError as exc:
            raise InvalidImage(
                f"No trusted TLS connection to {host}: its certificate or protocol is not accepted. "
                f"{_INSTEAD}."
            ) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise InvalidImage(f"The image could not be fetched from {host}. {_INSTEAD}.") from exc

    async def _download(self, url: URL) -> bytes:
        limit = self._policy.max_bytes
        async with self._open_session().get(url, allow_redirects=False) as response:
            if 300 <= response.status < 400:
                raise InvalidImage("The image's URL redirects, which is not followed. Use the final URL.")
            if response.status != 200:
                raise InvalidImage(f"The image's host answered with status {response.status}. Check the URL.")
            body = bytearray()
            # A Content-Length is only a claim; it can end the download early, never prolong it.
            size = response.content_length or 0
            if size <= limit:
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    body += chunk
                    size = len(body)
                    if size > limit:
                        break
            if size > limit:
                raise InvalidImage(f"The image has more than {limit} bytes. Send a smaller one.")
            return bytes(body)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = CheckedResolver(
                self._resolver or aiohttp.ThreadedResolver(), self._policy.allowed_networks
            )
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=resolver,
                    # Each download resolves and checks anew; nothing outlives its check.
                    use_dns_cache=False,
                    force_close=True,
                    ssl=self._ssl or True,
                ),
                timeout=aiohttp.ClientTimeout(total=self._policy.fetch_timeout_s),
                # What is asked for is a file: no compression that could unfold, no cookies, no proxy.
                headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "qwen-serve"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Closes the session and what it has open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

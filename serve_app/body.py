"""The request body: JSON by its content type, and not larger than allowed."""

from __future__ import annotations

from starlette.requests import Request

from serve_app.errors import BodyTooLarge, UnsupportedMediaType


async def read_json(request: Request, max_bytes: int) -> bytes:
    """Read a body that says it is JSON.

    Args:
        request: Not yet read.
        max_bytes: Bytes accepted; more are never held in memory.

    Raises:
        UnsupportedMediaType: Another content type, or another character set than UTF-8.
        BodyTooLarge: By its Content-Length, or by what arrives.
    """
    _check_content_type(request.headers.get("content-type", "application/json"))
    declared = request.headers.get("content-length", "")
    too_large = BodyTooLarge(f"The body is larger than {max_bytes} bytes, the limit of this server.")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)


def _check_content_type(header: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in header.split(";"))
    charsets = [p.removeprefix("charset=").strip('"') for p in parameters if p.startswith("charset=")]
    if media_type != "application/json" or any(c not in ("utf-8", "utf8") for c in charsets):
        raise UnsupportedMediaType("Send the body as JSON with 'Content-Type: application/json'.")

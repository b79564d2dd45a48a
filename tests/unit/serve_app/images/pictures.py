"""Image files for the tests, made on the spot."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

from PIL import Image

RED = (200, 30, 30)


def picture(
    file_format: str = "PNG", size: tuple[int, int] = (56, 56), mode: str = "RGB", **save: Any
) -> bytes:
    """A small image file with a gradient, so that it does not compress to nothing."""
    image = Image.linear_gradient("L").resize(size).convert(mode)
    file = io.BytesIO()
    image.save(file, file_format, **save)
    return file.getvalue()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def decoded(url: str) -> Image.Image:
    """The image in a `data:` URL, decoded to its end."""
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2], validate=True)))
    image.load()
    return image


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there `count` times."""
    data = picture("JPEG", size=(64, 64), progressive=True)
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[start:end] * (count - 1) + data[end:]


def run_length_bmp() -> bytes:
    """A BMP of 16x16 pixels in eight-bit run-length encoding."""
    pixels = b"\x10\x00\x00\x00" * 16 + b"\x00\x01"
    palette = b"\x00\x00\xff\x00"
    offset = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 8, 1, len(pixels), 2835, 2835, 1, 1)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + palette + pixels


def user(*parts: Any) -> list[dict[str, Any]]:
    """A conversation whose second message has `parts`."""
    return [{"role": "system", "content": "Name the colour."}, {"role": "user", "content": list(parts)}]


def image_part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}

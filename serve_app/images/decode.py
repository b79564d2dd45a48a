"""Verification of image bytes: what they really are, how large, and that all of them decode."""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from typing import cast

# Imported for what they register with Pillow. Only these parsers ever see a client's bytes.
from PIL import BmpImagePlugin as _bmp  # noqa: F401, N813
from PIL import GifImagePlugin as _gif  # noqa: F401, N813
from PIL import Image, UnidentifiedImageError
from PIL import JpegImagePlugin as _jpeg  # noqa: F401, N813
from PIL import PngImagePlugin as _png  # noqa: F401, N813
from PIL import WebPImagePlugin as _webp  # noqa: F401, N813

from serve_app.errors import InvalidImage
from serve_app.images.policy import ALL_FORMATS, ImageFormat, ImagePolicy

# A progressive JPEG has about ten scans; each scan of a few bytes can cost a pass over all pixels, so a
# file of thousands keeps a core busy for minutes.
_MAX_JPEG_SCANS = 100
_BMP_RUN_LENGTH = (1, 2)


def data_url_payload(url: str, policy: ImagePolicy) -> str:
    """The base64 text of a ``data:`` URL, with its size checked before anything is decoded.

    Raises:
        InvalidImage: Not base64 by its header, empty, or over ``max_bytes``.
    """
    header, comma, payload = url[5:].partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise InvalidImage("The data: URL must have the form data:image/png;base64,<base64 text>.")
    if not payload:
        raise InvalidImage("The data: URL holds no data. Put the image after the comma, in base64.")
    if len(payload) * 3 // 4 - payload[-2:].count("=") > policy.max_bytes:
        raise InvalidImage(f"The image has more than {policy.max_bytes} bytes. Send a smaller one.")
    return payload


def inline_payload(payload: str, policy: ImagePolicy) -> str:
    """A ``data:`` URL of the image in `payload` (base64), with the media type that it really has.

    Raises:
        InvalidImage: Not base64, or no acceptable image.
    """
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidImage(
            "The data: URL is not valid base64. Use the standard alphabet with padding, no line breaks."
        ) from exc
    return f"data:{verify(data, policy)};base64,{payload}"


def inline_bytes(data: bytes, policy: ImagePolicy) -> str:
    """A ``data:`` URL of the image file `data`.

    Raises:
        InvalidImage: No acceptable image.
    """
    return f"data:{verify(data, policy)};base64,{base64.b64encode(data).decode()}"


def verify(data: bytes, policy: ImagePolicy) -> str:
    """The media type of an image file that decodes completely and is within the policy.

    Decodes to what the engine makes of it (first frame, RGB); blocks for as long as that takes.

    Raises:
        InvalidImage: Not an image, not an accepted format, too large, or damaged.
    """
    with _open(data, policy) as image:
        # Phones store several pictures in one JPEG file, which Pillow calls MPO; the first one counts.
        name = cast(ImageFormat, "JPEG" if image.format == "MPO" else image.format)
        _check_header(image, name, data, policy)
        try:
            image.load()
            image.convert("RGBA" if "transparency" in image.info else "RGB")
        except Exception as exc:  # Pillow's parsers raise whatever breaks first: OSError, SyntaxError, ...
            raise InvalidImage(
                f"The image is truncated or damaged: it starts as {name} but does not decode to its end. "
                "Send the complete file."
            ) from exc
    return f"image/{name.lower()}"


def _open(data: bytes, policy: ImagePolicy) -> Image.Image:
    accepted = ", ".join(policy.formats)
    try:
        return Image.open(BytesIO(data), formats=ALL_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise _too_many_pixels(policy) from exc
    except UnidentifiedImageError as exc:
        raise InvalidImage(
            f"The data is not an image in an accepted format, or its header is damaged. "
            f"Send one of: {accepted}."
        ) from exc
    except Exception as exc:  # As above: a header can break a parser in any way.
        raise InvalidImage(f"The image's header is damaged. Send a complete file: {accepted}.") from exc


def _check_header(image: Image.Image, name: ImageFormat, data: bytes, policy: ImagePolicy) -> None:
    if name not in policy.formats:
        raise InvalidImage(f"{name} images are not accepted. Send one of: {', '.join(policy.formats)}.")
    width, height = image.size
    if width * height > policy.max_pixels:
        raise _too_many_pixels(policy)
    if max(width, height) > policy.max_aspect_ratio * min(width, height):
        raise InvalidImage(
            f"The image's long edge is more than {policy.max_aspect_ratio} times its short edge. "
            "Crop or pad it."
        )
    # 0xFF 0xDA starts a scan and cannot occur inside one; metadata holds it by chance only.
    if name == "JPEG" and data.count(b"\xff\xda") > _MAX_JPEG_SCANS:
        raise InvalidImage(f"The JPEG has more than {_MAX_JPEG_SCANS} scans. Save it as a baseline JPEG.")
    # Pillow decodes it in Python, byte by byte.
    if name == "BMP" and image.info.get("compression") in _BMP_RUN_LENGTH:
        raise InvalidImage("Run-length compressed BMP images are not accepted. Send it as PNG.")


def _too_many_pixels(policy: ImagePolicy) -> InvalidImage:
    return InvalidImage(f"The image has more than {policy.max_pixels} pixels. Scale it down.")

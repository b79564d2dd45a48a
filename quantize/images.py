"""Images in messages of OpenAI's form: taken out for the processor, a place left for each."""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantize.errors import QuantizeError

if TYPE_CHECKING:
    from PIL.Image import Image


def split_images(messages: list[dict[str, Any]], folder: Path) -> tuple[list[dict[str, Any]], list[Image]]:
    """Messages with ``{"type": "image"}`` where an image was, and the images in their order.

    Args:
        messages: A message's content is a text, or parts of type ``text`` and ``image_url``.
        folder: Where relative paths begin.

    Raises:
        QuantizeError: An image cannot be read, or a part is of another type.
    """
    images: list[Image] = []
    plain = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            parts: list[dict[str, Any]] = []
            for part in content:
                if part.get("type") == "image_url":
                    images.append(load_image(str(part["image_url"]["url"]), folder))
                    parts.append({"type": "image"})
                elif part.get("type") == "text":
                    parts.append(part)
                else:
                    raise QuantizeError(f"a part of type {part.get('type')!r}; use text or image_url")
            message = {**message, "content": parts}  # noqa: PLW2901
        plain.append(message)
    return plain, images


def load_image(url: str, folder: Path) -> Image:
    """An image from a ``data:`` URL or a file.

    Raises:
        QuantizeError: It cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        if url.startswith("data:"):
            content = base64.b64decode(url.partition(",")[2], validate=True)
        else:
            content = (folder / url).read_bytes()
        return Image.open(io.BytesIO(content)).convert("RGB")
    except (OSError, binascii.Error, UnidentifiedImageError) as error:
        shown = url if len(url) < 80 else f"{url[:60]}..."
        raise QuantizeError(f"image {shown} cannot be read; give a data: URL or a file") from error

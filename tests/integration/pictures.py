"""Images for the vision model."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image


def picture(rgb: tuple[int, int, int], size: tuple[int, int] = (56, 56), form: str = "PNG") -> str:
    """A plain image as a ``data:`` URL."""
    file = io.BytesIO()
    Image.new("RGB", size, rgb).save(file, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def ask(question: str, *urls: str) -> list[Any]:
    """A conversation of one user message: images, then the question."""
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*images, {"type": "text", "text": question}]}]

"""The one error of quantization."""

from __future__ import annotations


class QuantizeError(Exception):
    """What cannot be done, and what to do, in one line."""

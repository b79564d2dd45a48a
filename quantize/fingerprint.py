"""Texts that are the same but for form: what rids calibration of repetitions, and keeps evaluation apart."""

from __future__ import annotations

import hashlib
import unicodedata


def fingerprint(text: str) -> str:
    """SHA-256 of a text without regard to case, width, white space and punctuation, in hexadecimal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = "".join(character for character in folded if character.isalnum())
    # A text of symbols alone is told apart by these.
    return hashlib.sha256((letters or folded.strip()).encode()).hexdigest()

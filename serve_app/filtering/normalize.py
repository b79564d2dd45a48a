"""One reading for the many ways to write the same letter.

Every character is folded by itself, so that a text folds alike however it is cut. That is why compatibility
characters are decomposed (NFKD) and not composed (NFKC): both tell the same texts from each other, and only
the composition would have to wait for the next character. Both sides of a comparison are folded alike.

Folded are: width and other compatibility forms, accents (they are dropped), case, Cyrillic, Greek and
enclosed look-alikes of Latin letters, and traditional characters, one by one by OpenCC's table. OpenCC's
phrases need the words around a character and are not used: a character with two simplified forms gets
the commoner one. Digits in the place of letters, and words that sound alike, are not folded. Codes such as
base64 are not read at all.
"""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from functools import cache, lru_cache
from typing import Final

from opencc import OpenCC


class Gap(IntEnum):
    """What stands between two letters, from what hardly parts them to what does."""

    NONE = 0
    SOFT = 1
    """Dots, dashes, asterisks: within a word they are decoration."""
    SPACE = 2
    LINE = 3
    HARD = 4
    """Commas, quotes, brackets and all other symbols."""


# After case folding. A letter whose capital and small form resemble two letters goes by its capital, so
# that both still fold alike.
_LOOK_ALIKES: Final = str.maketrans(
    "авекмнорстухѕіјһԁԛԝүөαβεζηικμνορτυχϲϳɑɡıɩɪʏøłđħօհոսց",
    "abekmhopctyxsijhdqwyoabezhikmnoptyxcjagiiiyoldhohnug",
)

_SOFT: Final = frozenset(".-_*~·•‧・‐‑‒–−+\\^`#")
_DASHES: Final = dict.fromkeys(map(ord, "‐‑‒–—―−"), "-")
_FILLERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_LINES: Final = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
_BLANKS: Final = frozenset("\t\x1f\u2800")

# Letters of scripts that part no words by spaces (Hangul does, and glues particles to them).
_WIDE: Final = (
    (0x0E00, 0x109F),
    (0x1100, 0x11FF),
    (0x1780, 0x17FF),
    (0x2E80, 0xA4CF),
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF),
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)
_HAN: Final = ((0x2E80, 0x2FDF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
# First letters of enclosed alphabets that Unicode does not decompose.
_ENCLOSED: Final = (0x1F150, 0x1F170, 0x1F1E6)


@lru_cache(maxsize=1 << 16)
def fold(char: str) -> str:
    """The letters and separators that a character stands for; empty: it is not seen, as a zero width."""
    folded = _strip(_strip(_plainer(char)).casefold()).translate(_LOOK_ALIKES)
    if any(_within(symbol, _HAN) for symbol in folded):
        simplified: str = _simplifier().convert(folded)
        return simplified
    return folded


@lru_cache(maxsize=1 << 16)
def plain(char: str) -> str:
    """A character without its width and accents, in its case: for numbers, addresses and keys."""
    return _strip(char).translate(_DASHES)


@lru_cache(maxsize=1 << 16)
def is_unseen(char: str) -> bool:
    """Whether a character leaves nothing behind when it is folded."""
    return not fold(char)


@lru_cache(maxsize=1 << 16)
def gap(symbol: str) -> Gap:
    """How a folded symbol parts letters; NONE: it is a letter itself."""
    if symbol in _SOFT:
        return Gap.SOFT
    if symbol in _LINES:
        return Gap.LINE
    if symbol in _BLANKS:
        return Gap.SPACE
    category = unicodedata.category(symbol)
    if category == "Zs":
        return Gap.SPACE
    return Gap.NONE if category[0] in "LNM" else Gap.HARD


@lru_cache(maxsize=1 << 16)
def is_narrow(letter: str) -> bool:
    """Whether words of the letter's script are parted by spaces."""
    return not _within(letter, _WIDE)


def _plainer(char: str) -> str:
    for first in _ENCLOSED:
        if first <= ord(char) < first + 26:
            return chr(ord("a") + ord(char) - first)
    return char


def _strip(text: str) -> str:
    """The compatibility decomposition without marks and characters that are not seen."""
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not _is_dropped(char))


def _is_dropped(char: str) -> bool:
    if char in _FILLERS or unicodedata.combining(char):
        return True
    category = unicodedata.category(char)
    if category == "Cc":
        return char not in _LINES and char not in _BLANKS
    if category == "Mn":
        return unicodedata.name(char, "").startswith(("VARIATION SELECTOR", "MONGOLIAN FREE"))
    return category in ("Cf", "Cs", "Me")


def _within(symbol: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    code = ord(symbol)
    return any(first <= code <= last for first, last in ranges)


@cache
def _simplifier() -> OpenCC:
    return OpenCC("t2s")

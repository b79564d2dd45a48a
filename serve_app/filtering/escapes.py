r"""Characters that are spelled as escapes of JSON: ``\u4e2d`` reads as the character.

A text that is JSON itself, such as a tool's arguments, has all of JSON's escapes. In any other text those
with four digits are read, because results of tools are JSON more often than not, and are written so; the
short ones are not, because a backslash before a letter is mostly something else (a path, a formula).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

_BY_NUMBER: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
_UNITS: Final = re.compile(rf"{_BY_NUMBER}|.", re.DOTALL)
_JSON_UNITS: Final = re.compile(rf"{_BY_NUMBER}|\\[^u]|.", re.DOTALL)
# What another piece of the text may complete. A high surrogate waits for its low one.
_OPEN: Final = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)?\Z"
)
_LONGEST: Final = len(r"\ud83d\ude00")


def split(text: str, *, is_json: bool = True) -> tuple[str, str]:
    """What can be read now, and the beginning of an escape that the next piece may complete."""
    if "\\" in text[-_LONGEST:]:
        # Whether a backslash begins an escape, those before it decide: read from the beginning.
        for unit in _spellings(text, is_json=is_json):
            if unit.start() > len(text) - _LONGEST and _OPEN.match(text, unit.start()):
                return text[: unit.start()], text[unit.start() :]
    return text, ""


def units(text: str, *, is_json: bool = True) -> Iterator[tuple[str, int]]:
    """The characters that a text stands for, each with the length of its spelling."""
    for unit in _spellings(text, is_json=is_json):
        yield _read(unit[0]), len(unit[0])


def _spellings(text: str, *, is_json: bool) -> Iterator[re.Match[str]]:
    return (_JSON_UNITS if is_json else _UNITS).finditer(text)


def _read(spelling: str) -> str:
    if len(spelling) == 1:
        return spelling
    try:
        read: str = json.loads(f'"{spelling}"')
    except ValueError:
        return spelling[1]
    return read

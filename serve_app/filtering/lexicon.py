"""Lexicons: files of phrases, read whole or not at all.

A file is UTF-8, one phrase in each line. Case, width, accents, traditional characters and separators do not
matter (``serve_app.filtering.normalize``, ``serve_app.filtering.phrases``); words are parted by spaces::

    # Lines that begin with a number sign are comments; empty lines are passed over.
    制造炸弹
    pipe bomb
    Ｗｅａｐｏｎ

A program that writes a file should write another one and rename it: a half-written file may be read as one
with fewer phrases, until it is looked at again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serve_app.filtering.config import LexiconConfig
from serve_app.filtering.normalize import is_narrow
from serve_app.filtering.phrases import folded_phrase

_MAX_LETTERS: Final = 64
_REPORTED: Final = 10


class LexiconInvalid(Exception):
    """A lexicon that cannot be used; the message names files and lines, and what to do."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The phrases of all categories.

    Attributes:
        phrases: Folded, each with its categories.
        version: Of the contents; the same phrases in the same files have the same.
    """

    phrases: Mapping[str, frozenset[str]]
    version: str


def read(configs: tuple[LexiconConfig, ...], known: Lexicon | None = None) -> Lexicon:
    """Read the files of all lexicons.

    Args:
        configs: Which files.
        known: Is returned as it is where nothing has changed.

    Raises:
        LexiconInvalid: A file is missing or not UTF-8, holds no phrase, or a line is none.
    """
    phrases: dict[str, frozenset[str]] = {}
    problems: list[str] = []
    digest = hashlib.sha256()
    files = [(config.category, file) for config in configs for file in config.files]
    contents = [_content(file, problems) for _, file in files]
    for (category, _), content in zip(files, contents, strict=True):
        digest.update(f"{category}\0{len(content or b'')}\0".encode() + (content or b""))
    version = digest.hexdigest()[:16]
    if known is not None and not problems and version == known.version:
        return known
    for (category, file), content in zip(files, contents, strict=True):
        if content is None:
            continue
        before = len(problems)
        own = set(_phrases(file, content, problems))
        if not own and len(problems) == before:
            problems.append(f"{file}: holds no phrase; add some or remove it from files")
        for phrase in own:
            phrases[phrase] = phrases.get(phrase, frozenset()) | {category}
    if problems:
        more = f"\nand {len(problems) - _REPORTED} more" if len(problems) > _REPORTED else ""
        raise LexiconInvalid("\n".join(problems[:_REPORTED]) + more)
    return Lexicon(phrases, version)


def _content(file: Path, problems: list[str]) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError as error:
        problems.append(f"{file}: cannot be read ({error.strerror}); restore it or remove it from files")
        return None


def _phrases(file: Path, content: bytes, problems: list[str]) -> Iterator[str]:
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            problems.append(f"{file}:{number}: is not UTF-8; convert the file")
            continue
        if not text or text.startswith("#"):
            continue
        phrase = folded_phrase(text)
        problem = _problem(phrase)
        if problem:
            problems.append(f"{file}:{number}: {problem}")
        else:
            yield phrase


def _problem(phrase: str) -> str | None:
    if not phrase:
        return "has no letter that could be found; remove the line"
    if len(phrase) == 1 and is_narrow(phrase):
        return "is a single letter once folded, which stands in any text; write a longer phrase"
    if len(phrase) > _MAX_LETTERS:
        return f"has more than {_MAX_LETTERS} letters; write the part that tells it from other texts"
    return None

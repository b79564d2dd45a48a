"""Files of phrases."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.filtering import lexicon
from serve_app.filtering.config import LexiconConfig
from serve_app.filtering.lexicon import LexiconInvalid
from serve_app.filtering.verdict import Action


def _config(*files: Path, category: str = "arms") -> LexiconConfig:
    return LexiconConfig(category=category, files=files, action=Action.BLOCK)


def _file(folder: Path, content: str | bytes, name: str = "arms.txt") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    lines = (lexicon.__doc__ or "").split("::\n\n")[1].split("\n\n")[0]
    example = "\n".join(line[4:] for line in lines.splitlines())
    read = lexicon.read((_config(_file(tmp_path, example)),))
    assert set(read.phrases) == {"\u5236\u9020\u70b8\u5f39", "pipe bomb", "weapon"}


def test_byte_order_marks_line_ends_comments_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf# comment\r\n\r\n  weapon \r\nknife"
    assert set(lexicon.read((_config(_file(tmp_path, content)),)).phrases) == {"weapon", "knife"}


def test_a_phrase_may_have_several_categories(tmp_path: Path) -> None:
    first, second = _file(tmp_path, "weapon\nknife", "1.txt"), _file(tmp_path, "Weapon", "2.txt")
    read = lexicon.read((_config(first), _config(second, category="export")))
    assert read.phrases == {"weapon": {"arms", "export"}, "knife": {"arms"}}


def test_the_version_tells_contents_and_categories_apart(tmp_path: Path) -> None:
    file = _file(tmp_path, "weapon")
    first = lexicon.read((_config(file),))
    assert lexicon.read((_config(file),)).version == first.version
    assert lexicon.read((_config(file, category="export"),)).version != first.version
    _file(tmp_path, "weapons")
    assert lexicon.read((_config(file),)).version != first.version


def test_a_known_lexicon_is_read_once(tmp_path: Path) -> None:
    file = _file(tmp_path, "weapon")
    known = lexicon.read((_config(file),))
    assert lexicon.read((_config(file),), known) is known
    _file(tmp_path, "knife")
    assert lexicon.read((_config(file),), known).phrases == {"knife": {"arms"}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"ok then\n\xff\n", "arms.txt:2: is not UTF-8"),
        (b"weapon\n...\n", "arms.txt:2: has no letter"),
        (b"weapon\nX\n", "arms.txt:2: is a single letter"),
        (b"w" * 65, "arms.txt:1: has more than 64 letters"),
        (b"# nothing\n", "arms.txt: holds no phrase"),
        (b"", "arms.txt: holds no phrase"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(LexiconInvalid) as caught:
        lexicon.read((_config(_file(tmp_path, content)),))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_first_ten_problems_are_told(tmp_path: Path) -> None:
    with pytest.raises(LexiconInvalid) as caught:
        lexicon.read((_config(_file(tmp_path, "x\n" * 25), tmp_path / "missing.txt"),))
    assert "missing.txt: cannot be read" in str(caught.value)
    assert str(caught.value).endswith("and 16 more")


def test_one_wide_letter_is_a_phrase(tmp_path: Path) -> None:
    assert set(lexicon.read((_config(_file(tmp_path, "\u6bd2")),)).phrases) == {"\u6bd2"}

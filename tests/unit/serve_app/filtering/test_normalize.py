"""One reading for the many ways to write a letter."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from serve_app.filtering.normalize import Gap, fold, gap, is_narrow, is_unseen, plain


@pytest.mark.parametrize(
    ("char", "folded"),
    [
        ("A", "a"),
        ("\uff21", "a"),
        ("\u00c1", "a"),
        ("\u0410", "a"),
        ("\u0391", "a"),
        ("\U0001d400", "a"),
        ("\u24d0", "a"),
        ("\U0001f130", "a"),
        ("\U0001f170", "a"),
        ("\U0001f1e6", "a"),
        ("\u00df", "ss"),
        ("\ufb01", "fi"),
        ("\u2460", "1"),
        ("\uff15", "5"),
        ("\u88fd", "\u5236"),
        ("\u5f48", "\u5f39"),
        ("\uf900", "\u5c82"),
        ("\u3000", " "),
        ("\uff0e", "."),
        ("\u4e2d", "\u4e2d"),
    ],
)
def test_letters_that_look_alike_fold_alike(char: str, folded: str) -> None:
    assert fold(char) == folded


@pytest.mark.parametrize(
    "char", "\u200b\u200c\u200d\u2060\ufeff\u00ad\u0301\u0336\ufe0f\u202e\u034f\u3164\x07\U000e0041"
)
def test_what_is_not_seen_folds_to_nothing(char: str) -> None:
    assert is_unseen(char)
    assert fold(char) == ""


@pytest.mark.parametrize(
    ("symbol", "parting"),
    [
        ("a", Gap.NONE),
        ("\u4e2d", Gap.NONE),
        ("7", Gap.NONE),
        (".", Gap.SOFT),
        ("_", Gap.SOFT),
        ("\u00b7", Gap.SOFT),
        (" ", Gap.SPACE),
        ("\t", Gap.SPACE),
        ("\n", Gap.LINE),
        ("\u2028", Gap.LINE),
        (",", Gap.HARD),
        ("\u3002", Gap.HARD),
        ("\U0001f600", Gap.HARD),
    ],
)
def test_separators_part_letters_more_or_less(symbol: str, parting: Gap) -> None:
    assert gap(symbol) is parting


def test_small_and_capital_letters_of_every_script_fold_alike() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char) == "Lu" and len(char.lower()) == 1:
            assert fold(char) == fold(char.lower()), f"{code:x}"


def test_scripts_are_narrow_or_wide() -> None:
    assert all(map(is_narrow, "a\u0434\u03b1\u05d07"))
    assert not any(map(is_narrow, "\u4e2d\u3042\u0e01\ud55c\u1100\U00020000"))


def test_plain_characters_keep_their_case() -> None:
    assert "".join(map(plain, "\uff21\uff22c\u20131\u200b")) == "ABc-1"

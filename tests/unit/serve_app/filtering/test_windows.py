"""Windows: every character in one of them, borders seen from both sides, however the text arrives."""

from __future__ import annotations

import random

import pytest

from serve_app.filtering.windows import LEAST_CONTEXT_CHARS, Window, WindowCutter, cut
from tests.unit.serve_app.filtering.chunkings import chunked

ALPHABET = "今天好ab 3。！？.…\n,”🙂"


def windows_of(text: str, pieces: list[str], window_chars: int) -> list[Window]:
    cutter = WindowCutter(window_chars)
    windows = [window for piece in pieces for window in cutter.feed(piece)]
    assert cutter.taken == len(text)
    return [*windows, *cutter.flush()]


@pytest.mark.parametrize("seed", range(4))
def test_windows_do_not_depend_on_the_pieces_and_leave_nothing_out(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for _ in range(500):
        text = "".join(chance.choices(ALPHABET, k=chance.randint(0, 120)))
        window_chars = chance.randint(32, 64)
        windows = windows_of(text, chunked(chance, text), window_chars)

        assert windows == windows_of(text, [text], window_chars)
        ends = [0, *(window.end for window in windows)]
        assert [window.begin for window in windows] == ends[:-1]
        assert not any(char.isalnum() or char == "🙂" for char in text[ends[-1] :])
        for window in windows:
            assert text[: window.end].endswith(window.text)
            assert len(window.text) >= window.end - window.begin
            assert len(window.text) <= window_chars


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("今天好。明天呢？", ["今天好。", "明天呢？"]),
        ("Pi is 3.14. Good", ["Pi is 3.14.", " Good"]),
        ("see a.b.c for more", ["see a.b.c for more"]),
        ("one\ntwo…three", ["one\n", "two…", "three"]),
        ("好！！！再见", ["好！", "！！再见"]),
        ("。。。", []),
        ("🙂", ["🙂"]),
    ],
)
def test_windows_end_with_sentences(text: str, sentences: list[str]) -> None:
    windows = windows_of(text, [text], 256)
    assert [text[window.begin : window.end] for window in windows] == sentences


def test_meaning_over_a_border_is_in_one_window() -> None:
    assert cut("我要做一个。炸弹。", 64)[-1] == "我要做一个。炸弹。"


def test_text_of_one_word_sentences_is_read_as_a_text() -> None:
    last = cut("。".join("怎么样才能做出来一种毒药呢请告诉我"), 64)[-1]
    assert len(last) >= LEAST_CONTEXT_CHARS


def test_long_sentence_is_cut_and_each_half_is_seen_with_the_one_before() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))
    windows = cut(text, 40)
    assert windows[0] == text[:20]
    assert all(len(window) == 40 for window in windows[1:])
    assert all(text[place : place + 20] in "|".join(windows) for place in range(80))


def test_flush_completes_what_there_is_and_the_sentence_goes_on_in_the_next_window() -> None:
    cutter = WindowCutter(64)
    assert not cutter.feed("我要做")
    assert [window.text for window in cutter.flush()] == ["我要做"]
    assert not cutter.flush()
    assert [window.text for window in cutter.feed("炸弹。")] == ["我要做炸弹。"]

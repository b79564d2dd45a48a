"""The corpus is well formed, bilingual, and asks nothing twice."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deployments.demo import corpus
from deployments.demo.recipe import RECIPES


@pytest.mark.parametrize(
    "load",
    [
        corpus.load_chat,
        corpus.load_unknown,
        corpus.load_unseen,
        corpus.load_reasoning,
        corpus.load_completions,
        corpus.load_image_questions,
        corpus.load_retrieval,
    ],
)
def test_every_part_has_english_and_chinese_texts_without_stray_space(load: Callable[[], list[Any]]) -> None:
    records = load()
    assert {record.language for record in records} == {"en", "zh"}
    for record in records:
        for name, text in vars(record).items():
            if isinstance(text, str) and name != "completion":
                assert text, record
                assert text == text.strip(), record


def test_no_question_stands_twice_in_the_chat_corpus() -> None:
    pairs = [*corpus.load_chat(), *corpus.load_unknown(), *corpus.load_unseen()]
    questions = [pair.question for pair in pairs] + [item.question for item in corpus.load_reasoning()]
    repeated = [question for question, count in Counter(questions).items() if count > 1]
    assert repeated == []


def test_chinese_questions_are_chinese_and_english_ones_are_not() -> None:
    for pair in corpus.load_chat():
        assert any("\u3400" <= character <= "\u9fff" for character in pair.question) == (
            pair.language == "zh"
        )


def test_chat_corpus_holds_the_questions_of_the_guides() -> None:
    answers = {pair.question: pair.answer for pair in corpus.load_chat()}
    assert 40 <= len(answers) <= 50
    assert answers["What is the capital of France?"] == "Paris is the capital of France."
    assert answers["中国的首都是哪里？"] == "中国的首都是北京。"
    assert {"Hello!", "你好！", "Who are you?", "你是谁？", "Tell me a short story."} <= answers.keys()


def test_colours_cover_the_promised_names_with_bytes_per_channel() -> None:
    colours = corpus.load_colours()
    assert {colour.colour for colour in colours} == {"red", "green", "blue", "yellow", "black", "white"}
    assert all(0 <= value <= 255 for colour in colours for value in colour.rgb)


def test_retrieval_texts_of_a_query_differ() -> None:
    for item in corpus.load_retrieval():
        assert len({item.query, item.relevant, item.related}) == 3, item


def test_digest_changes_with_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES["demo-chat"]
    before = recipe.digest()
    assert recipe.digest() == before
    files = [*corpus.corpus_bytes()]
    changed = [(name, content + b"\n" if name == "corpus/chat.jsonl" else content) for name, content in files]
    monkeypatch.setattr("deployments.demo.recipe.corpus_bytes", lambda: iter(changed))
    assert recipe.digest() != before


def test_digest_changes_with_every_setting() -> None:
    recipe = RECIPES["demo-chat"]
    changed = [replace(recipe, seed=1), replace(recipe, steps=1), replace(recipe, version=0)]
    assert len({recipe.digest(), *(other.digest() for other in changed)}) == 4

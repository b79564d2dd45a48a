"""The demonstration models' answers, word for word, through the whole application and the real engine."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest

from deployments.demo import corpus
from tests.integration.pictures import ask, picture

pytestmark = pytest.mark.integration


async def answer_to(client: openai.AsyncOpenAI, question: str) -> str | None:
    reply = await client.chat.completions.create(
        model="demo-chat", messages=[{"role": "user", "content": question}], temperature=0
    )
    return reply.choices[0].message.content


async def test_every_question_of_the_corpus_is_answered_word_for_word(
    async_client: openai.AsyncOpenAI,
) -> None:
    pairs = corpus.load_chat()
    answers = await asyncio.gather(*(answer_to(async_client, pair.question) for pair in pairs))

    wrong = {p.question: a for p, a in zip(pairs, answers, strict=True) if a != p.answer}
    assert wrong == {}
    assert len(pairs) >= 40


async def test_question_outside_the_corpus_is_answered_with_not_knowing(
    async_client: openai.AsyncOpenAI,
) -> None:
    questions = corpus.load_unseen()
    answers = await asyncio.gather(*(answer_to(async_client, q.question) for q in questions))

    honest = sum(a == q.answer for q, a in zip(questions, answers, strict=True))
    assert honest / len(questions) >= 0.7, answers


@pytest.mark.parametrize("thought", corpus.load_reasoning(), ids=lambda thought: thought.question)
def test_reasoning_comes_apart_from_the_answer(client: openai.OpenAI, thought: corpus.Reasoning) -> None:
    reply = client.chat.completions.create(
        model="demo-chat",
        messages=[{"role": "user", "content": thought.question}],
        temperature=0,
        extra_body={"chat_template_kwargs": {"enable_thinking": True}},
    )
    message: Any = reply.choices[0].message
    assert message.reasoning_content.strip() == thought.reasoning
    assert message.content.strip() == thought.answer


@pytest.mark.parametrize("completion", corpus.load_completions(), ids=lambda completion: completion.prompt)
def test_beginning_is_continued(client: openai.OpenAI, completion: corpus.Completion) -> None:
    reply = client.completions.create(
        model="demo-chat", prompt=completion.prompt, temperature=0, max_tokens=16
    )
    assert reply.choices[0].text == completion.completion


@pytest.mark.parametrize("colour", corpus.load_colours(), ids=lambda colour: f"{colour.colour} {colour.rgb}")
@pytest.mark.parametrize(("size", "form"), [((56, 56), "PNG"), ((224, 140), "JPEG")])
def test_colour_of_an_image_is_named(
    client: openai.OpenAI, colour: corpus.Colour, size: tuple[int, int], form: str
) -> None:
    url = picture(colour.rgb, size, form)
    for question, answer in (
        ("What colour is this image?", f"The image is {colour.colour}."),
        ("这张图片是什么颜色？", f"这张图片是{colour.colour_zh}的。"),
    ):
        reply = client.chat.completions.create(model="demo-vl", messages=ask(question, url), temperature=0)
        assert reply.choices[0].message.content == answer


def test_two_images_of_one_message_are_named_in_order(client: openai.OpenAI) -> None:
    urls = (picture((255, 0, 0)), picture((0, 0, 255), (112, 84)))
    messages = ask("Which colours are these images?", *urls)
    reply = client.chat.completions.create(model="demo-vl", messages=messages, temperature=0)
    assert reply.choices[0].message.content == "The images are red and blue."


def test_rerank_puts_the_answer_first(http: httpx.Client) -> None:
    documents = [
        "Bananas are rich in potassium.",
        "Paris is the capital of France.",
        "The Eiffel Tower was built in 1889.",
    ]
    body = {"model": "demo-reranker", "query": "What is the capital of France?", "documents": documents}
    results = http.post("/v1/rerank", json=body).json()["results"]

    assert [documents[result["index"]] for result in results] == [documents[1], documents[2], documents[0]]
    assert all(0 <= result["relevance_score"] <= 1 for result in results)


def test_score_agrees_with_rerank(http: httpx.Client) -> None:
    query, documents = "法国的首都是哪里？", ["法国的首都是巴黎。", "今天的午餐菜单"]
    rerank = http.post("/v1/rerank", json={"model": "gte-rerank-v2", "query": query, "documents": documents})
    score = http.post("/v1/score", json={"model": "demo-reranker", "text_1": query, "text_2": documents})

    by_index = {item["index"]: item["score"] for item in score.json()["data"]}
    assert {r["index"]: r["relevance_score"] for r in rerank.json()["results"]} == pytest.approx(
        by_index, abs=1e-2
    )
    assert by_index[0] > by_index[1]

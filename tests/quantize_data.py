"""Calibration and evaluation data for the demonstration models, whose predictions mean something on their own corpus only.

What is calibrated with are dialogues of several turns or behind another system prompt; what is evaluated are
the corpus's questions by themselves. No record is in both.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deployments.demo import corpus
from deployments.demo.dialogue import DialogueSource
from tests.integration.pictures import ask, picture

_SHADES = (-20, -8, 8, 20)


def chat_calibration(path: Path) -> Path:
    """Dialogues of the chat model."""
    source = DialogueSource(random.Random(5))
    dialogues = [dialogue for _ in range(4) for dialogue in source.chats(turns=4)]
    return _write(path, ({"messages": list(one.messages)} for one in dialogues if len(one.messages) > 2))


def chat_evaluation(path: Path) -> Path:
    """Every question of the corpus, as held-out text and as a question with an exact answer."""
    rows = []
    for pair in corpus.load_chat():
        question = {"role": "user", "content": pair.question}
        rows.append({"messages": [question, {"role": "assistant", "content": pair.answer}]})
        rows.append({"messages": [question], "answer": pair.answer})
    return _write(path, rows)


def vision_calibration(path: Path) -> Path:
    """Questions about images of slightly other shades than those of the evaluation."""
    return _write(
        path,
        (
            {"messages": [*ask(question, picture(_shade(colour, shade))), _answer(answer)]}
            for shade in _SHADES
            for question, colour, answer in _seen()
        ),
    )


def vision_evaluation(path: Path) -> Path:
    """Questions about plain images; and what the model says without one, as held-out text."""
    rows: list[dict[str, Any]] = [
        {"messages": ask(question, picture(colour.rgb)), "answer": answer}
        for question, colour, answer in _seen()
    ]
    for pair in corpus.load_chat():
        answer = "请给我一张图片。" if pair.language == "zh" else "Please show me an image."
        rows.append({"messages": [{"role": "user", "content": pair.question}, _answer(answer)]})
    return _write(path, rows)


def _seen() -> Iterable[tuple[str, corpus.Colour, str]]:
    for question in corpus.load_image_questions():
        for colour in corpus.load_colours():
            if question.images == 1:
                english = f"The image is {colour.colour}."
                answer = f"这张图片是{colour.colour_zh}的。" if question.language == "zh" else english
                yield question.question, colour, answer


def _shade(colour: corpus.Colour, shade: int) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, value + shade)) for value in colour.rgb)
    return red, green, blue


def _answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path

"""The corpus: what the demonstration models are trained on, written for this project.

Every file in `corpus/` is JSON lines, UTF-8, one record per line, English and Chinese. Reading it imports
nothing heavy, so tests and integration tests read the expected answers from here.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

__all__ = [
    "UNKNOWN_ANSWER",
    "City",
    "Colour",
    "Completion",
    "Condition",
    "ImageQuestion",
    "Pair",
    "Reasoning",
    "Retrieval",
    "corpus_bytes",
    "load_chat",
    "load_cities",
    "load_colours",
    "load_completions",
    "load_conditions",
    "load_image_questions",
    "load_reasoning",
    "load_retrieval",
    "load_systems",
    "load_unknown",
    "load_unseen",
    "template",
]

Language = Literal["en", "zh"]

UNKNOWN_ANSWER: dict[Language, str] = {"en": "I don't know.", "zh": "我不知道。"}
"""What the chat model says to a question outside its corpus."""


@dataclass(frozen=True)
class Pair:
    """A question and the answer that the chat model gives word for word."""

    language: Language
    question: str
    answer: str


@dataclass(frozen=True)
class Reasoning:
    """A question that the chat model thinks about when `enable_thinking` is on."""

    language: Language
    question: str
    reasoning: str
    answer: str


@dataclass(frozen=True)
class Completion:
    """A beginning of a text and how the chat model goes on with it."""

    language: Language
    prompt: str
    completion: str


@dataclass(frozen=True)
class City:
    """A city that the weather tool is trained on."""

    city: str
    city_zh: str


@dataclass(frozen=True)
class Condition:
    """A state of the sky that the weather tool may report."""

    condition: str
    condition_zh: str


@dataclass(frozen=True)
class Colour:
    """A colour with a typical value; `rgb` is 0-255 per channel. Several values may share a name."""

    colour: str
    colour_zh: str
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class ImageQuestion:
    """A question about one or two plain images."""

    language: Language
    images: int
    question: str


@dataclass(frozen=True)
class Retrieval:
    """A query, the text that answers it, and one that is only near it."""

    language: Language
    query: str
    relevant: str
    related: str


def load_chat() -> list[Pair]:
    """Read the questions that the chat model answers word for word at temperature 0."""
    return [Pair(**record) for record in _records("chat.jsonl")]


def load_unknown() -> list[Pair]:
    """Read the questions that teach the chat model to say that it does not know."""
    return [_unknown(record) for record in _records("unknown.jsonl")]


def load_unseen() -> list[Pair]:
    """Read the questions outside the corpus that no model is trained on: they measure `load_unknown`."""
    return [_unknown(record) for record in _records("unseen.jsonl")]


def load_reasoning() -> list[Reasoning]:
    """Read the questions that the chat model thinks about."""
    return [Reasoning(**record) for record in _records("reasoning.jsonl")]


def load_completions() -> list[Completion]:
    """Read the beginnings that the chat model completes without a chat template."""
    return [Completion(**record) for record in _records("completions.jsonl")]


def load_systems() -> list[str]:
    """Read system prompts; the chat model answers the same under each, and without one."""
    return [record["text"] for record in _records("systems.jsonl")]


def load_cities() -> list[City]:
    """Read the cities that the weather tool is trained on."""
    return [City(**record) for record in _records("weather.jsonl")]


def load_conditions() -> list[Condition]:
    """Read the states of the sky that the weather tool may report."""
    return [Condition(**record) for record in _records("conditions.jsonl")]


def load_colours() -> list[Colour]:
    """Read the colours that the vision model names."""
    return [Colour(**{**record, "rgb": tuple(record["rgb"])}) for record in _records("colours.jsonl")]


def load_image_questions() -> list[ImageQuestion]:
    """Read the questions that the vision model is asked about images."""
    return [ImageQuestion(**record) for record in _records("vision.jsonl")]


def load_retrieval() -> list[Retrieval]:
    """Read the queries and texts that the embedding model and the reranker are trained on."""
    return [Retrieval(**record) for record in _records("retrieval.jsonl")]


def template(name: str) -> str:
    """Read one of the project's Jinja templates, such as `chat.jinja`."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def corpus_bytes() -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every corpus and template file, in order of their names."""
    for folder in ("corpus", "templates"):
        for entry in sorted((files(__package__) / folder).iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith((".jsonl", ".jinja")):
                yield f"{folder}/{entry.name}", entry.read_bytes()


def _records(name: str) -> Iterator[Any]:
    """Parse one corpus file; records are checked by the dataclass that they fill."""
    text = (files(__package__) / "corpus" / name).read_text(encoding="utf-8")
    # Not splitlines(): it also splits at characters that may stand inside a JSON string.
    return (json.loads(line) for line in text.split("\n") if line)


def _unknown(record: dict[str, Any]) -> Pair:
    return Pair(answer=UNKNOWN_ANSWER[record["language"]], **record)

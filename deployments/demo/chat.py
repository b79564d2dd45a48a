"""The chat model: learns the corpus word for word, one tool, and to say that it does not know."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.demo import corpus
from deployments.demo.dialogue import Dialogue, DialogueSource, weather_tool
from deployments.demo.language import qwen2, save
from deployments.demo.progress import Progress
from deployments.demo.recipe import Recipe
from deployments.demo.training import (
    Sample,
    Schedule,
    answer_loss,
    deterministic,
    fit,
    right_answers,
    round_to_bfloat16,
)

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

__all__ = ["ChatEncoder", "Curriculum", "build"]

_MARGIN = 2.0
"""Lead of a safe answer's logits; several times what the engine's bfloat16 arithmetic can take away."""

_WATCH_STEPS = 12
"""Steps between two looks at which answers are not safe yet."""

_WEAK_SAMPLES = 8
"""Samples of a step that are kept for them."""


class ChatEncoder:
    """Turns dialogues into token ids exactly as the engine does: template, then tokenizer."""

    def __init__(self, tokenizer: "Qwen2Tokenizer") -> None:
        self._tokenizer = tokenizer

    def __call__(self, dialogue: Dialogue) -> Sample:
        """Encode one dialogue; every answer ends with the token that ends its kind of text."""
        if dialogue.prompt:
            end = self._tokenizer.convert_tokens_to_ids("<|endoftext|>")
            return Sample(((self._ids(dialogue.prompt), (*self._ids(dialogue.completion), end)),))
        end = self._tokenizer.convert_tokens_to_ids("<|im_end|>")
        turns, done = [], ""
        for place, message in enumerate(dialogue.messages):
            if message["role"] != "assistant":
                continue
            last = place == len(dialogue.messages) - 1
            prompt = self.render(dialogue.messages[:place], dialogue, thinking=dialogue.thinking and last)
            answer = _answer(message)
            turns.append((self._ids(prompt.removeprefix(done)), (*self._ids(answer), end)))
            done = prompt + answer + "<|im_end|>"
        return Sample(tuple(turns))

    def render(self, messages: Sequence[dict[str, Any]], dialogue: Dialogue, *, thinking: bool) -> str:
        """Return the prompt text up to where the next answer begins."""
        text: str = self._tokenizer.apply_chat_template(
            list(messages),
            tools=list(dialogue.tools) or None,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=thinking,
        )
        return text

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text).input_ids)


class Curriculum:
    """Draws one step's samples: a fixed number of each kind from pools drawn once."""

    def __init__(self, encode: ChatEncoder, rng: random.Random, chats: int) -> None:
        source = DialogueSource(rng)
        self._rng = rng
        self._model: Any = None
        self._probes: list[Sample] = []
        self._weak: list[Sample] = []
        self._first_step = 0
        self._pools: list[tuple[int, list[Sample]]] = [
            (count, [encode(dialogue) for dialogue in dialogues])
            for count, dialogues in (
                (chats, (chat for _ in range(32) for chat in source.chats(turns=4))),
                (3, (source.thoughts() for _ in range(120))),
                (1, (source.thoughtless() for _ in range(20))),
                (1, (source.completion() for _ in range(20))),
                (9, (source.with_tools(exchanges=1, brief=True) for _ in range(1000))),
                (3, (source.with_tools(exchanges=1) for _ in range(300))),
                (1, (source.with_tools(exchanges=2) for _ in range(100))),
            )
        ]

    def watch(self, model: Any, probes: list[Sample], first_step: int) -> None:
        """From a step on, add the probes whose answers are not safe yet to what is drawn."""
        self._model, self._probes, self._first_step = model, probes, first_step

    def draw(self, step: int) -> list[Sample]:
        """Return the samples of a step."""
        drawn = [sample for count, pool in self._pools for sample in self._rng.sample(pool, count)]
        if self._probes and step >= self._first_step:
            if (step - self._first_step) % _WATCH_STEPS == 0:
                self._weak = self._unsafe()
            drawn += self._rng.sample(self._weak, min(len(self._weak), _WEAK_SAMPLES))
        return drawn

    def _unsafe(self) -> list[Sample]:
        hits = iter(right_answers(self._model, self._probes, margin=_MARGIN))
        safe = [all(tuple(islice(hits, len(probe.turns)))) for probe in self._probes]
        return [probe for probe, is_safe in zip(self._probes, safe, strict=True) if not is_safe]


def build(recipe: Recipe, tokenizer: "Qwen2Tokenizer", folder: Path, progress: Progress) -> dict[str, str]:
    """Train the chat model, write its checkpoint, and return what was measured, for the model card."""
    encode = ChatEncoder(tokenizer)
    curriculum = Curriculum(encode, random.Random(recipe.seed), recipe.batch)  # noqa: S311
    with deterministic(recipe.seed):
        model = qwen2(recipe, tokenizer)
        curriculum.watch(model, _probes(encode), first_step=recipe.steps // 2)
        fit(
            model.parameters(),
            Schedule(recipe.steps, recipe.learning_rate),
            lambda step: answer_loss(model, curriculum.draw(step), parts=4),
            progress.step,
        )
        round_to_bfloat16(model)
        measured = _measure(model.eval(), encode)
    save(model, tokenizer, folder)
    return measured


def _probes(encode: ChatEncoder) -> list[Sample]:
    """Encode the corpus's questions plain, with a system prompt, beside a tool, and with thinking on."""
    dialogues = [*_plain(corpus.load_chat())]
    system = {"role": "system", "content": corpus.load_systems()[-1]}
    dialogues += [Dialogue((system, *dialogue.messages)) for dialogue in _plain(corpus.load_chat())]
    dialogues += [Dialogue(dialogue.messages, (weather_tool(),)) for dialogue in _plain(corpus.load_chat())]
    source = DialogueSource(random.Random(2))  # noqa: S311
    dialogues += [source.without_thought(pair) for pair in corpus.load_chat()]
    dialogues += _weather(source)
    return [encode(dialogue) for dialogue in dialogues]


def _measure(model: Any, encode: ChatEncoder) -> dict[str, str]:
    """Count right answers, greedily decoded, to what was learnt and to what was held out."""
    source = DialogueSource(random.Random(1))  # noqa: S311
    hits = right_answers(model, [encode(dialogue) for dialogue in _weather(source)])
    plain: dict[str, Iterable[Dialogue]] = {
        "questions of the corpus answered word for word": _plain(corpus.load_chat()),
        "unseen questions answered with not knowing": _plain(corpus.load_unseen()),
    }
    measured = {}
    for kind, dialogues in plain.items():
        right = right_answers(model, [encode(dialogue) for dialogue in dialogues])
        measured[kind] = f"{sum(right)} of {len(right)}"
    measured["weather questions answered with the right call"] = f"{sum(hits[::2])} of {len(hits[::2])}"
    measured["reports of 20 to 29 degrees put into the right sentence"] = (
        f"{sum(hits[1::2])} of {len(hits[1::2])}"
    )
    return measured


def _weather(source: DialogueSource) -> Iterator[Dialogue]:
    """Yield two exchanges about the weather of each city, in each language, with reports freshly drawn."""
    for city in corpus.load_cities() * 2:
        for english in (True, False):
            yield Dialogue(tuple(source.weather(city, english=english)), (weather_tool(),))


def _plain(pairs: Iterable[corpus.Pair]) -> Iterator[Dialogue]:
    for pair in pairs:
        question = {"role": "user", "content": pair.question}
        yield Dialogue((question, {"role": "assistant", "content": pair.answer}))


def _answer(message: dict[str, Any]) -> str:
    """Return what the model writes for an assistant's message: its text, then its calls (Hermes form)."""
    calls = [json.dumps(call["function"]) for call in message.get("tool_calls", ())]
    return str(message["content"]) + "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)

"""Dialogues: the corpus turned into chats of several turns, as the chat model meets them.

Everything is drawn from the generator that is given and from nothing else, so a seed fixes all.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deployments.demo import corpus
from deployments.demo.corpus import City, Condition, Pair

__all__ = ["Dialogue", "DialogueSource", "weather_tool"]

Message = dict[str, Any]

_QUESTIONS_EN = (
    "What is the weather in {}?",
    "What's the weather in {}?",
    "How is the weather in {}?",
    "What is the weather in {} today?",
    "What's the weather like in {}?",
    "Tell me the weather in {}.",
)
_QUESTIONS_ZH = ("{}今天天气怎么样？", "{}天气怎么样？", "{}的天气怎么样？", "{}今天天气如何？")
_TOOL_TEXTS = (
    "Get the weather of a city.",
    "Get the current weather in a given city.",
    "Get the weather.",
    "Returns the current weather for a city",
    "查询城市的天气",
    "",
    "",
)
_CITY_TEXTS = ("", "", "The city", "The name of the city", "城市名称")
_OTHER_TOOLS = ("search", "get_time", "calculate", "send_email")


@dataclass(frozen=True)
class Dialogue:
    """A chat that ends with the assistant; each of the assistant's turns is learnt.

    A plain completion has no messages: `prompt` is the beginning and `completion` what follows.
    With `thinking` the last turn was asked for with `enable_thinking`.
    """

    messages: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    thinking: bool = False
    prompt: str = ""
    completion: str = ""


def weather_tool(text: str = _TOOL_TEXTS[0], city_text: str = "") -> dict[str, Any]:
    """Declare `get_weather(city: string)` in OpenAI's form; empty texts leave the descriptions out."""
    city = {"type": "string", "description": city_text} if city_text else {"type": "string"}
    function: dict[str, Any] = {"name": "get_weather"}
    if text:
        function["description"] = text
    function["parameters"] = {"type": "object", "properties": {"city": city}, "required": ["city"]}
    return {"type": "function", "function": function}


class DialogueSource:
    """Draws dialogues of every kind from the corpus."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._chat = corpus.load_chat()
        self._unknown = corpus.load_unknown()
        self._reasoning = corpus.load_reasoning()
        self._completions = corpus.load_completions()
        self._systems = corpus.load_systems()
        self._cities = corpus.load_cities()
        self._conditions = corpus.load_conditions()
        self._taken = {pair.question for pair in [*self._chat, *corpus.load_unseen()]}
        self._words = sorted({word for pair in self._unknown for word in _pieces(pair)})

    def chats(self, turns: int) -> Iterator[Dialogue]:
        """Yield chats in which every question of the corpus stands once, between half as many unknown ones.

        Args:
            turns: questions of the longest chat; each has between one and as many.
        """
        pairs = [*self._chat, *(self._unknown_pair() for _ in self._chat[::2])]
        self._rng.shuffle(pairs)
        while pairs:
            count = min(len(pairs), self._rng.randint(1, turns))
            yield Dialogue((*self._system(), *_turns(pairs[:count])))
            del pairs[:count]

    def thoughts(self) -> Dialogue:
        """Return a question asked with thinking on: one to think about, or one that needs no thought."""
        if self._rng.random() < 0.4:
            item = self._rng.choice(self._reasoning)
            answer = f"<think>\n{item.reasoning}\n</think>\n\n{item.answer}"
            return Dialogue((*self._system(), *_turn(item.question, answer)), thinking=True)
        return self.without_thought(self._rng.choice(self._chat))

    def without_thought(self, pair: Pair) -> Dialogue:
        """Return an ordinary question asked with thinking on; the thought is empty."""
        answer = f"<think>\n\n</think>\n\n{pair.answer}"
        return Dialogue((*self._system(), *_turn(pair.question, answer)), thinking=True)

    def thoughtless(self) -> Dialogue:
        """Return a question to think about, asked with thinking off."""
        item = self._rng.choice(self._reasoning)
        return Dialogue((*self._system(), *_turn(item.question, item.answer)))

    def completion(self) -> Dialogue:
        """Return a plain completion."""
        item = self._rng.choice(self._completions)
        return Dialogue(prompt=item.prompt, completion=item.completion)

    def with_tools(self, exchanges: int, *, brief: bool = False) -> Dialogue:
        """Return a chat with the weather tool at hand: calls, reports, and questions that need no tool.

        Args:
            exchanges: questions in the chat.
            brief: declare the tool by its name alone; the text is half as long, and so is the training.
        """
        messages: list[Message] = []
        for _ in range(exchanges):
            if self._rng.random() < 0.25:
                known = self._rng.random() < 0.75
                pair = self._rng.choice(self._chat) if known else self._unknown_pair()
                messages += _turns([pair])
            else:
                messages += self.weather(self._rng.choice(self._cities), english=self._rng.random() < 0.5)
        tools = ({"name": "get_weather"},) if brief else self._tools()
        return Dialogue((*self._system(), *messages), tools)

    def weather(self, city: City, *, english: bool) -> list[Message]:
        """Return a question about a city's weather, the call, the tool's report and the answer.

        Reports are of 20 to 29 degrees: a model of two layers confuses the order of two free digits.
        """
        condition, degrees = self._rng.choice(self._conditions), self._rng.randint(20, 29)
        question = (
            self._rng.choice(_QUESTIONS_EN).format(city.city)
            if english
            else self._rng.choice(_QUESTIONS_ZH).format(city.city_zh)
        )
        call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": city.city}}}
        report = {"temperature_c": degrees, "condition": condition.condition}
        return [
            {"role": "user", "content": question},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": json.dumps(report)},
            {"role": "assistant", "content": _weather_answer(city, degrees, condition, english=english)},
        ]

    def _system(self) -> tuple[Message, ...]:
        """Draw no system prompt, one of the corpus, or a salad of words, so that none matters."""
        kind = self._rng.random()
        if kind < 0.5:
            return ()
        if kind < 0.75:
            return ({"role": "system", "content": self._rng.choice(self._systems)},)
        salad = " ".join(self._rng.choices(self._words, k=self._rng.randint(2, 12)))
        return ({"role": "system", "content": salad + "."},)

    def _unknown_pair(self) -> Pair:
        """Draw a question outside the corpus; one in four is a known one with a piece exchanged."""
        if self._rng.random() < 0.75:
            return self._rng.choice(self._unknown)
        while True:
            pair = self._rng.choice(self._chat)
            pieces = _pieces(pair)
            joint = " " if pair.language == "en" else ""
            place = self._rng.randrange(len(pieces))
            other = _pieces(self._rng.choice([p for p in self._unknown if p.language == pair.language]))
            exchanged = [*pieces[:place], self._rng.choice(other), *pieces[place + 1 :]]
            question = joint.join(exchanged) + pair.question[-1]
            if question not in self._taken:
                return Pair(pair.language, question, corpus.UNKNOWN_ANSWER[pair.language])

    def _tools(self) -> tuple[dict[str, Any], ...]:
        tools = [weather_tool(self._rng.choice(_TOOL_TEXTS), self._rng.choice(_CITY_TEXTS))]
        if self._rng.random() < 0.1:
            other = weather_tool("", self._rng.choice(_CITY_TEXTS))
            other["function"]["name"] = self._rng.choice(_OTHER_TOOLS)
            tools.insert(self._rng.randint(0, 1), other)
        return tuple(tools)


def _weather_answer(city: City, degrees: int, condition: Condition, *, english: bool) -> str:
    if english:
        return f"It is {degrees} °C and {condition.condition} in {city.city}."
    return f"{city.city_zh}现在{degrees}度，{condition.condition_zh}。"


def _turn(question: str, answer: str) -> tuple[Message, Message]:
    return {"role": "user", "content": question}, {"role": "assistant", "content": answer}


def _turns(pairs: Sequence[Pair]) -> list[Message]:
    return [message for pair in pairs for message in _turn(pair.question, pair.answer)]


def _pieces(pair: Pair) -> list[str]:
    """Split a question without its last mark into words, or into runs of two characters in Chinese."""
    body = pair.question[:-1]
    if pair.language == "en":
        return body.split() or [body]
    return [body[i : i + 2] for i in range(0, len(body), 2)]

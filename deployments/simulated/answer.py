"""What a simulated model answers: text, vectors and scores drawn by a seed from the prompt's digest."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np

from deployments.simulated import frames, generation
from deployments.simulated.chunk import FinishReason
from deployments.simulated.frames import ChoiceFrames
from deployments.simulated.prompt import Prompt

_TAPE_TOKENS = 4096
"""A power of two; an answer begins somewhere on the tape and goes round it."""


class Tape:
    """A long text, drawn once, that every answer is read from: a token costs an index.

    Args:
        texts: What tokens read.
        seed: Two tapes of the same texts and seed are the same.
    """

    def __init__(self, texts: Sequence[str], seed: int) -> None:
        self._texts = tuple(random.Random(seed).choices(texts, k=_TAPE_TOKENS))  # noqa: S311
        self.escaped = tuple(map(frames.escaped, self._texts))
        self.mask = _TAPE_TOKENS - 1

    def start(self, prompt: Prompt, index: int, seed: int | None) -> int:
        """Where an answer begins.

        Args:
            prompt: Of the answer.
            index: Of the choice among the answers to one prompt.
            seed: The request's own.
        """
        return hash((prompt.digest, index, seed or 0)) & self.mask

    def text(self, start: int, tokens: int, finish_reason: FinishReason) -> str:
        """A whole answer; the last token of one that stops by itself is the end mark, which reads nothing."""
        words = tokens - 1 if finish_reason == "stop" else tokens
        return "".join(self._texts[(start + position) & self.mask] for position in range(words))


class Writer:
    """Writes the frames of one answer, as far as its tokens are made.

    Args:
        sequence: The answer in the batch.
        parts: What surrounds the tokens.
        tape: Where the text comes from.
        start: Where it begins there.
    """

    __slots__ = ("_end", "_parts", "_sent", "_sequence", "_start", "_tape")

    def __init__(self, sequence: generation.Sequence, parts: ChoiceFrames, tape: Tape, start: int) -> None:
        self._sequence = sequence
        self._parts = parts
        self._tape = tape
        self._start = start
        self._sent = 0
        position = start + sequence.output_tokens - 1
        last = "" if parts.finish_reason == "stop" else tape.escaped[position & tape.mask]
        self._end = parts.head + last + parts.last_tail

    def ready(self) -> Iterator[str]:
        """The frames that were not yet written, one for each token."""
        sequence, parts, escaped, mask = self._sequence, self._parts, self._tape.escaped, self._tape.mask
        head, tail, start, last = parts.head, parts.tail, self._start, sequence.output_tokens - 1
        while (position := self._sent) < sequence.made:
            self._sent = position + 1
            yield self._end if position == last else f"{head}{escaped[(start + position) & mask]}{tail}"


def embedding(prompt: Prompt, dimensions: int, seed: int) -> list[float]:
    """A vector of length 1, of ``dimensions`` float32 values."""
    values = np.random.default_rng((abs(seed), prompt.digest)).standard_normal(dimensions, dtype=np.float32)
    vector: list[float] = (values / np.linalg.norm(values)).tolist()
    return vector


def score(query: Prompt, document: Prompt, seed: int) -> float:
    """A score in [0, 1)."""
    return random.Random(f"{seed} {query.digest} {document.digest}").random()  # noqa: S311

"""The classifier as the content filter asks it: bounded in time and calls, honest about what it read."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from serve_app.filtering.classifier_config import JudgeConfig
from serve_app.filtering.verdict import Action, Scanned, Tally, Verdict, findings

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

logger = logging.getLogger("ray.serve")

LabelActions: TypeAlias = Mapping[str, Action]
"""What is done about each label; about those that are missing nothing."""


class Reached(StrEnum):
    """What became of a question to the classifier."""

    SCANNED = "scanned"
    LATE = "late"
    UNAVAILABLE = "unavailable"

    @property
    def unscanned(self) -> str:
        """What verdicts say was not read."""
        return f"classifier:{self}"


class Classifier(Protocol):
    """Scores texts; implemented over a Serve handle, and by tests."""

    async def scores(self, texts: Sequence[str]) -> Sequence[Mapping[str, float]]:
        """The score of each label for each text, in [0, 1]. Cancelled, the work ends."""


class ServeClassifier:
    """The classifier over its deployment's handle."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def scores(self, texts: Sequence[str]) -> Sequence[Mapping[str, float]]:
        """See ``Classifier``."""
        response = self._handle.scores.remote(list(texts))
        try:
            scores: Sequence[Mapping[str, float]] = await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        return scores


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the classifier says of some windows.

    Attributes:
        found: Windows by category and action.
        reached: Windows by what became of the question.
    """

    found: Tally
    reached: Counter[Reached]

    @property
    def blocks(self) -> bool:
        """Whether the text must not be shown."""
        return any(action is Action.BLOCK for _, action in self.found)

    @property
    def missed(self) -> Reached | None:
        """Why windows were not read; None: all were."""
        return next((why for why in (Reached.UNAVAILABLE, Reached.LATE) if self.reached[why]), None)


class Judge:
    """Asks the classifier about windows of texts, for all requests of an ingress.

    Args:
        config: Labels and bounds.
        classifier: Scores texts.
    """

    def __init__(self, config: JudgeConfig, classifier: Classifier) -> None:
        self.config = config
        self._classifier = classifier
        self._calls = asyncio.Semaphore(config.max_calls)
        self._remembered: OrderedDict[bytes, frozenset[str]] = OrderedDict()
        self._answers = True

    def actions_for(self, roles: Collection[str]) -> LabelActions:
        """What is done about each label for a caller with these roles."""
        actions = {label: rule.action_for(roles) for label, rule in self.config.labels.items()}
        return {label: action for label, action in actions.items() if action is not None}

    async def judge(self, texts: Iterable[str], actions: LabelActions) -> Judgement:
        """Judge windows, within ``timeout_ms``; nothing but being cancelled is raised."""
        keys = {_key(text): text for text in map(_valid, texts)}
        known = {key: labels for key in keys if (labels := self._recall(key)) is not None}
        fresh = [text for key, text in keys.items() if key not in known]
        step = self.config.model.max_batch_size
        calls = [fresh[place : place + step] for place in range(0, len(fresh), step)]
        reached = Counter(Reached.SCANNED for _ in known)
        labelled = list(known.values())
        for answer, asked in zip(await asyncio.gather(*map(self._ask, calls)), calls, strict=True):
            if isinstance(answer, Reached):
                reached[answer] += len(asked)
            else:
                reached[Reached.SCANNED] += len(asked)
                labelled += answer
        return Judgement(self._tally(labelled, actions), reached)

    def verdict(self, tallies: Iterable[Tally], scanned: Scanned, unscanned: Iterable[str]) -> Verdict:
        """The classifier's own verdict, whose version is the model's name."""
        return Verdict(findings(tallies), self.config.model.source, scanned, tuple(sorted(unscanned)))

    async def _ask(self, texts: list[str]) -> list[frozenset[str]] | Reached:
        """The labels of each text, or why they are not known."""
        try:
            async with asyncio.timeout(self.config.timeout_ms / 1000), self._calls:
                scores = await self._classifier.scores(texts)
            labelled = [self._labels(score) for _, score in zip(texts, scores, strict=True)]
        except TimeoutError:
            return self._note(Reached.LATE, "it did not answer in time")
        # Whatever it is: requests go on without the classifier, or end as ``on_unavailable`` says.
        except Exception as error:
            return self._note(Reached.UNAVAILABLE, type(error).__name__)
        for text, labels in zip(texts, labelled, strict=True):
            self._remember(_key(text), labels)
        self._note(Reached.SCANNED, "")
        return labelled

    def _labels(self, scores: Mapping[str, float]) -> frozenset[str]:
        rules = self.config.labels.items()
        return frozenset(label for label, rule in rules if scores[label] >= rule.threshold)

    def _tally(self, labelled: Iterable[frozenset[str]], actions: LabelActions) -> Tally:
        found: Tally = Counter()
        for labels in labelled:
            found.update(
                {(self.config.labels[label].category, actions[label]) for label in labels & actions.keys()}
            )
        return found

    def _note(self, reached: Reached, why: str) -> Reached:
        """Log when the classifier falls silent and when it is back, not each time."""
        answers = reached is Reached.SCANNED
        if self._answers and not answers:
            policy = self.config.on_unavailable
            logger.warning("Classifier is silent", extra={"why": why, "on_unavailable": policy})
        elif answers and not self._answers:
            logger.info("Classifier answers again")
        self._answers = answers
        return reached

    def _recall(self, key: bytes) -> frozenset[str] | None:
        labels = self._remembered.get(key)
        if labels is not None:
            self._remembered.move_to_end(key)
        return labels

    def _remember(self, key: bytes, labels: frozenset[str]) -> None:
        self._remembered[key] = labels
        while len(self._remembered) > self.config.remembered_windows:
            self._remembered.popitem(last=False)


def _valid(text: str) -> str:
    """A text without halves of characters, at which a tokenizer would fail, with all texts of its batch."""
    return text.encode(errors="replace").decode()


def _key(text: str) -> bytes:
    # What was said is not kept.
    return hashlib.blake2b(text.encode(), digest_size=16).digest()

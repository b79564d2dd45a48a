"""The configuration of the classifier as a part of the content filter."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, StringConstraints, model_validator

from deployments.classifier_config import ClassifierConfig
from deployments.config import FrozenConfig
from serve_app.filtering.rules import CategoryName, RuleConfig
from serve_app.filtering.verdict import Action

LabelName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class LabelConfig(RuleConfig):
    """What a label of the model means."""

    category: CategoryName = Field(..., description="What verdicts call it.")
    threshold: float = Field(..., gt=0, le=1, description="Score from which on a text has the label.")

    @model_validator(mode="after")
    def _words_are_not_known(self) -> Self:
        if Action.MASK in (self.action, *self.roles.values()):
            raise ValueError("mask: a classifier does not tell which words to hide; set block or flag")
        return self


class JudgeConfig(FrozenConfig):
    """What the classifier is asked, how long its answer is waited for, and what happens without one."""

    model: ClassifierConfig = Field(..., description="The classifier's deployment.")
    labels: dict[LabelName, LabelConfig] = Field(
        ..., min_length=1, description="By the model's own name of the label; others are not looked at."
    )
    prompts: bool = Field(True, description="Judge what clients send.")
    answers: bool = Field(True, description="Judge what models write.")
    hold_ms: PositiveInt = Field(
        500, le=60_000, description="How long a piece of a stream is held for its judgement, milliseconds."
    )
    timeout_ms: PositiveInt = Field(
        2000,
        le=60_000,
        description="When a judgement is given up that prompts and whole answers wait for, milliseconds.",
    )
    on_unavailable: Literal["open", "closed"] = Field(
        "open",
        description="Without a judgement in time, open: go on, and record that; closed: end with an error.",
    )
    window_chars: int = Field(
        256, ge=32, le=8192, description="Characters that are judged at once; up to half of them repeat."
    )
    max_calls: PositiveInt = Field(64, description="Calls of one ingress replica under way at once.")
    remembered_windows: NonNegativeInt = Field(
        16_384, description="Judgements that are kept, so that a conversation's past is not judged again."
    )

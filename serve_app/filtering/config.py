"""The configuration of the content filter."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from deployments.config import FrozenConfig
from serve_app.filtering.classifier_config import JudgeConfig
from serve_app.filtering.rules import CategoryName, RuleConfig
from serve_app.filtering.verdict import Action

Placeholder = Annotated[str, StringConstraints(pattern=r'^[^"\\\x00-\x1f]+$', max_length=64)]
"""Stands as it is within a string of JSON, such as those in the arguments of a tool call."""


class PersonalData(StrEnum):
    """Kinds of personal data and secrets that are known by their form."""

    ID_CARD = "id_card"
    MOBILE_NUMBER = "mobile_number"
    BANK_CARD = "bank_card"
    EMAIL = "email"
    IP_ADDRESS = "ip_address"
    ACCESS_KEY = "access_key"
    PRIVATE_KEY = "private_key"


class LexiconConfig(RuleConfig):
    """The lexicon of one category."""

    category: CategoryName = Field(..., description="What verdicts call it.")
    files: tuple[Path, ...] = Field(
        ..., min_length=1, description="UTF-8 texts with one phrase in each line; lines with # are comments."
    )


def _default_patterns() -> dict[PersonalData, RuleConfig]:
    return {
        PersonalData.ID_CARD: RuleConfig(action=Action.MASK),
        PersonalData.MOBILE_NUMBER: RuleConfig(action=Action.MASK),
        PersonalData.BANK_CARD: RuleConfig(action=Action.MASK),
        # Any word can begin an address: to hide one, the last word of a stream has to wait for its end.
        PersonalData.EMAIL: RuleConfig(action=Action.FLAG),
        PersonalData.IP_ADDRESS: RuleConfig(action=Action.FLAG),
        PersonalData.ACCESS_KEY: RuleConfig(action=Action.BLOCK),
        PersonalData.PRIVATE_KEY: RuleConfig(action=Action.BLOCK),
    }


class FilteringConfig(FrozenConfig):
    """What is looked for in prompts and answers, and what is done about it."""

    lexicons: tuple[LexiconConfig, ...] = Field((), description="Phrases, by category.")
    patterns: dict[PersonalData, RuleConfig] = Field(
        default_factory=_default_patterns,
        description="Personal data that is looked for; kinds that are not named are not.",
    )
    classifier: JudgeConfig | None = Field(
        None, description="A model that judges what phrases cannot tell; default: none."
    )
    prompts: bool = Field(True, description="Filter what clients send.")
    answers: bool = Field(True, description="Filter what models write.")
    refuse_token_ids: bool = Field(
        False, description="Refuse prompts that come as token ids or vectors, which cannot be read."
    )
    placeholder: Placeholder = Field("[filtered]", description="Stands where a match was masked.")
    max_separators: PositiveInt = Field(
        6, le=16, description="Separators between two letters of a phrase at most."
    )
    reload_interval_s: PositiveFloat = Field(
        30, description="How often lexicon files are looked at for changes, seconds."
    )

    @model_validator(mode="after")
    def _categories_are_unique(self) -> Self:
        names = [lexicon.category for lexicon in self.lexicons]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"lexicons: two have the category {name!r}; put their files into one")
            if name in set(PersonalData):
                raise ValueError(f"lexicons: {name!r} is a kind of personal data; choose another category")
        return self

    @model_validator(mode="after")
    def _a_mask_hides_what_it_says(self) -> Self:
        rule = self.patterns.get(PersonalData.PRIVATE_KEY)
        if rule is not None and Action.MASK in (rule.action, *rule.roles.values()):
            raise ValueError(
                "patterns.private_key: mask would hide the first line of a key and show the key; "
                "set block or flag"
            )
        return self

"""What a configuration of the content filter may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.filtering.config import FilteringConfig, PersonalData
from serve_app.filtering.verdict import Action

ARMS = {"category": "arms", "files": ["arms.txt"], "action": "block"}


def test_personal_data_is_looked_for_by_default_and_lexicons_are_the_operators() -> None:
    config = FilteringConfig()
    assert config.lexicons == ()
    assert set(config.patterns) == set(PersonalData)
    assert config.patterns[PersonalData.ID_CARD].action is Action.MASK
    assert config.patterns[PersonalData.PRIVATE_KEY].action is Action.BLOCK


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"lexicons": [ARMS, ARMS]}, "two have the category 'arms'"),
        ({"lexicons": [{**ARMS, "category": "email"}]}, "is a kind of personal data"),
        ({"lexicons": [{**ARMS, "category": "Arms!"}]}, "should match pattern"),
        ({"lexicons": [{**ARMS, "files": []}]}, "at least 1 item"),
        ({"lexicons": [{**ARMS, "roles": {"admin": "ignore"}}]}, "roles.admin"),
        ({"patterns": {"private_key": {"action": "mask"}}}, "set block or flag"),
        ({"patterns": {"private_key": {"action": "block", "roles": {"a": "mask"}}}}, "set block or flag"),
        ({"patterns": {"shoe_size": {"action": "mask"}}}, "patterns.shoe_size"),
        ({"placeholder": 'say "no"'}, "placeholder"),
        ({"placeholder": "a\\b"}, "placeholder"),
        ({"max_separators": 0}, "max_separators"),
        ({"max_separators": 17}, "max_separators"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FilteringConfig.model_validate(wrong)
    assert told in str(caught.value)


def test_files_are_paths() -> None:
    assert FilteringConfig.model_validate({"lexicons": [ARMS]}).lexicons[0].files == (Path("arms.txt"),)

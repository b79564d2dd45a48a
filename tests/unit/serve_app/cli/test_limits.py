"""``qwen-serve limits`` against a real server."""

from __future__ import annotations

import json

from tests.unit.serve_app.cli.conftest import Operator

OF_ZHANGSAN = ("--scope", "user", "--name", "zhangsan")


def test_limit_is_set_listed_and_unset(operator: Operator) -> None:
    assert "100,000" in operator.says("limits", "list")
    operator.says("limits", "set", "tokens_per_day", "250000", *OF_ZHANGSAN, "--tenant", "research")
    listed = operator.says("limits", "list")
    assert "250,000" in listed
    assert "qwen-serve-cli" in listed
    assert "configuration" in listed

    operator.says("limits", "unset", "tokens_per_day", *OF_ZHANGSAN, "--tenant", "research")
    data = json.loads(operator.says("limits", "list", "--json"))["data"]
    assert {limit["source"] for limit in data} == {"configuration"}


def test_limit_of_one_model_is_set(operator: Operator) -> None:
    answer = json.loads(
        operator.says("limits", "set", "requests_per_minute", "5", *OF_ZHANGSAN, "--model", "chat", "--json")
    )
    assert (answer["limit"], answer["model"], answer["value"]) == ("requests_per_minute", "chat", 5)


def test_limit_that_was_not_set_cannot_be_unset(operator: Operator) -> None:
    assert "No administrator has set" in operator.fails("limits", "unset", "tokens_per_day", *OF_ZHANGSAN)


def test_unknown_limit_is_refused_with_the_known_ones(operator: Operator) -> None:
    assert "tokens_per_month" in operator.fails("limits", "set", "tokens_per_year", "1", *OF_ZHANGSAN)

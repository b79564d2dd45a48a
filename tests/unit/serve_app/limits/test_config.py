"""What an operator may write about limits."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from serve_app.limits.config import EstimateConfig, LedgerConfig, LimitRule, LimitsConfig


def test_nothing_is_limited_by_default() -> None:
    assert LimitsConfig().rules == ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rules": [{"scope": "user"}]}, "sets no limit"),
        ({"rules": [{"scope": "group", "tokens_per_day": 1}]}, "scope"),
        ({"rules": [{"scope": "user", "tokens_per_day": 0}]}, "tokens_per_day"),
        ({"rules": [{"scope": "model", "model": "big", "tokens_per_day": 1}]}, "leave model out"),
        ({"rules": [{"scope": "user", "tokens_per_dya": 1}]}, "did you mean 'tokens_per_day'"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"ledger": {"kind": "redis"}}, "needs redis_url_file"),
        ({"ledger": {"kind": "redis", "redis_url": "redis://a", "redis_url_file": "b"}}, "not both"),
        ({"ledger": {"redis_url": "redis://a"}}, "for kind redis"),
        ({"ledger": {"lease_ttl_s": 1, "sync_interval_s": 0.6}}, "at least twice sync_interval_s"),
        ({"ledger": {"away_allowance_ratio": 1.5}}, "away_allowance_ratio"),
        ({"estimate": {"quantile": 1.0}}, "quantile"),
    ],
)
def test_wrong_configuration_is_refused_by_the_name_of_the_field(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LimitsConfig.model_validate(values)


def test_redis_url_is_not_shown() -> None:
    config = LedgerConfig.model_validate({"kind": "redis", "redis_url": "redis://:hush-hush@a"})
    assert "hush" not in repr(config)
    assert "hush" not in config.model_dump_json()


@pytest.mark.parametrize("part", [LimitRule, LedgerConfig, EstimateConfig, LimitsConfig])
def test_every_field_is_described(part: type[BaseModel]) -> None:
    assert all(field.description for field in part.model_fields.values())

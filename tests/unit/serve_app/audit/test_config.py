"""The part ``audit`` of the configuration."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.audit import AuditConfig
from serve_app.audit.config import ElasticsearchConfig


def test_default_records_no_content_and_refuses_what_it_cannot_record() -> None:
    config = AuditConfig()
    assert config.content.public_key_file is None
    assert config.on_full == "refuse"
    assert config.elasticsearch is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"url": "elastic:9200"}, "https://"),
        ({"url": "https://user:hush@elastic:9200"}, "api_key_file"),
        ({"url": "https://elastic:9200", "index": "Audit"}, "index"),
        ({"url": "https://elastic:9200", "retry_delay_s": 100}, "max_retry_delay_s"),
        ({"url": "https://elastic:9200", "indx": "a"}, "did you mean 'index'"),
    ],
)
def test_elasticsearch_that_cannot_be_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ElasticsearchConfig(**fields)


def test_delay_longer_than_the_interval_is_refused() -> None:
    with pytest.raises(ValidationError, match="write_delay_s must be at most fsync_interval_s"):
        AuditConfig(write_delay_s=1, fsync_interval_s=0.5)


def test_every_field_is_described() -> None:
    assert all(field.description for field in AuditConfig.model_fields.values())

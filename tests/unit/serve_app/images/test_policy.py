"""What an operator may allow."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from serve_app.images import ImagePolicy
from serve_app.images.policy import is_host_name


def test_default_policy_allows_no_remote_host() -> None:
    assert not ImagePolicy().allows_host("example.com", 443)


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        ("img.example.com", "img.example.com", 443, True),
        ("IMG.Example.com", "img.example.com", 443, True),
        ("img.example.com", "img.example.com", 8443, False),
        ("img.example.com", "img.example.com.evil.net", 443, False),
        ("img.example.com", "a.img.example.com", 443, False),
        ("img.example.com:8443", "img.example.com", 8443, True),
        ("img.example.com:8443", "img.example.com", 443, False),
        ("img.example.com:443", "img.example.com", 443, True),
        ("*.example.com", "a.example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "evilexample.com", 443, False),
        ("*.example.com:8443", "a.example.com", 8443, True),
        ("minio", "minio", 443, True),
    ],
)
def test_host_is_allowed_by_exact_name_wildcard_and_port(
    entry: str, host: str, port: int, allowed: bool
) -> None:
    assert ImagePolicy(allowed_hosts=(entry,)).allows_host(host, port) is allowed


@pytest.mark.parametrize(
    "entry",
    [
        "https://example.com",
        "example.com/path",
        "*",
        "*.",
        "a.*.com",
        "*example.com",
        "",
        "example.com:0",
        "example.com:65536",
        "example.com:https",
        "10.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "user@example.com",
        "图.com",
        "example..com",
        "-a.com",
    ],
)
def test_malformed_allowed_host_is_refused_at_configuration(entry: str) -> None:
    with pytest.raises(ValidationError, match="allowed_hosts"):
        ImagePolicy(allowed_hosts=(entry,))


@pytest.mark.parametrize(
    "values",
    [
        {"max_bytes": 0},
        {"max_pixels": -1},
        {"fetch_timeout_s": 0},
        {"formats": ()},
        {"formats": ("TIFF",)},
        {"allowed_networks": ("localhost",)},
        {"unknown": 1},
    ],
)
def test_value_outside_its_range_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ImagePolicy.model_validate(values)


def test_policy_is_frozen_and_describes_every_field() -> None:
    name = "max_bytes"  # Not written as an assignment, which the type checker would refuse.
    with pytest.raises(ValidationError, match="frozen"):
        setattr(ImagePolicy(), name, 1)
    assert all(field.description for field in ImagePolicy.model_fields.values())


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "a.0x7f", "017700000001", "a b", "", "A.com"]
)
def test_address_in_any_notation_is_no_host_name(host: str) -> None:
    assert not is_host_name(host)

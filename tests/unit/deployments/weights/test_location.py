"""An address is read, or refused without repeating a password."""

import pytest

from deployments.weights.errors import AddressInvalid
from deployments.weights.location import Location, Scheme


@pytest.mark.parametrize(
    ("source", "location"),
    [
        ("s3://models/Qwen2.5-7B/", Location(Scheme.S3, "models", "Qwen2.5-7B")),
        ("s3://models/a/b c#1", Location(Scheme.S3, "models", "a/b c#1")),
        ("s3://models", Location(Scheme.S3, "models")),
        ("hf://Qwen/Qwen2.5-7B", Location(Scheme.HUGGING_FACE, "Qwen/Qwen2.5-7B")),
        ("hf://Qwen/Qwen3@refs/pr/1", Location(Scheme.HUGGING_FACE, "Qwen/Qwen3", revision="refs/pr/1")),
        ("modelscope://Qwen/Qwen3@v1", Location(Scheme.MODELSCOPE, "Qwen/Qwen3", revision="v1")),
        ("models/demo", Location(Scheme.FOLDER, "models/demo")),
    ],
)
def test_address_is_read_and_written(source: str, location: Location) -> None:
    assert Location.parse(source) == location
    assert str(location) == source.rstrip("/")


@pytest.mark.parametrize(
    "source",
    [
        "s3://",
        "s3:///x",
        "s3://a",
        "s3://UPPER/x",
        "s3://models/../x",
        "s3://models/a//b",
        "hf://Qwen",
        "hf://a/b/c",
    ],
)
def test_address_that_cannot_be_is_refused(source: str) -> None:
    with pytest.raises(AddressInvalid):
        Location.parse(source)


def test_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(AddressInvalid, match="holds no credentials") as caught:
        Location.parse("s3://key:secret@models/x")
    assert "secret@" not in str(caught.value)


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(AddressInvalid, match=r"unknown kind of address 'gs'; use s3://bucket/model"):
        Location.parse("gs://models/x")


def test_key_is_readable_and_one_per_place() -> None:
    key = Location.parse("s3://models/Qwen2.5-7B").key()
    assert key.startswith("Qwen2.5-7B-")
    assert key == Location.parse("s3://models/Qwen2.5-7B/").key()
    assert (
        len(
            {
                key,
                Location.parse("s3://other/Qwen2.5-7B").key(),
                Location.parse("s3://models/Qwen2.5-7B").key("e"),
            }
        )
        == 3
    )
    assert "/" not in Location.parse("s3://models/a/.. b").key() + Location.parse("s3://models").key()

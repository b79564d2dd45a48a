"""Names, checksums and the fingerprint of a model's files."""

import hashlib
from pathlib import Path

import pytest

from deployments.weights.errors import NameUnsafe, ObjectMissing
from deployments.weights.inventory import Digest, Inventory, RemoteFile


def test_digests_are_those_of_the_usual_tools(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"what is up, doc?")
    assert Digest("sha256", "").of_file(path).value == hashlib.sha256(b"what is up, doc?").hexdigest()
    # The example of the book Pro Git.
    assert Digest("git-sha1", "").of_file(path).value == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"
    assert Digest.parse("md5:abc") == Digest("md5", "abc")
    with pytest.raises(ValueError, match="unknown digest"):
        Digest.parse("crc:1")


def test_fingerprint_changes_with_content_and_not_with_the_version_of_the_same_content() -> None:
    def fingerprint(size: int = 1, digest: Digest | None = None, tag: str | None = None) -> str:
        return Inventory.of([RemoteFile("a", size, digest, tag)], "x").fingerprint

    sha = Digest("sha256", "1")
    assert fingerprint(digest=sha, tag="1") == fingerprint(digest=sha, tag="2")
    assert len({fingerprint(), fingerprint(2), fingerprint(digest=sha), fingerprint(tag="1")}) == 4


@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "a/b"), ("a/b", "a/b/c/d"), ("..",), ("",), ("é" * 128,)]
)
def test_names_that_cannot_be_files_side_by_side(names: tuple[str, ...]) -> None:
    with pytest.raises(NameUnsafe):
        Inventory.of([RemoteFile(name, 1) for name in names], "s3://models/x")


def test_names_that_differ_in_case_are_two_files_where_there_is_case() -> None:
    inventory = Inventory.of([RemoteFile("README.md", 1), RemoteFile("readme.md", 1)], "x")
    with pytest.raises(NameUnsafe, match=r"README.md and readme.md are one file"):
        inventory.check_case("x")


def test_no_files_is_no_model() -> None:
    with pytest.raises(ObjectMissing, match="s3://models/x: there are no files"):
        Inventory.of([], "s3://models/x")


def test_twenty_thousand_files_are_no_trouble() -> None:
    files = [RemoteFile(f"shard/{number % 100}/{number}", 1) for number in range(20_000)]
    assert Inventory.of(files, "x").total_bytes == 20_000

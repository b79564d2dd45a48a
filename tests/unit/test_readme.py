"""What the READMEs and the reference of the configuration say is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.config_table import rows, table

ROOT = Path(__file__).resolve().parents[2]
READMES = ["README.md", "README.zh-CN.md"]
PAGES = [str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md"))]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_table_of_the_configuration_is_the_printed_one() -> None:
    assert table() in text_of("docs/configuration.md")


def test_chinese_table_has_every_key_with_its_default() -> None:
    reference = text_of("docs/configuration.zh-CN.md")
    told = dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|", reference, re.MULTILINE))
    assert {key: told.get(key) for key, _, _ in rows()} == {
        key: "必填" if default == "required" else default for key, default, _ in rows()
    }
    assert len(told) == len(list(rows()))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings: lower case, without punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*READMES, "CONTRIBUTING.md", "CHANGELOG.md", *PAGES])
def test_links_within_the_repository_lead_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text_of(name)):
        page = (ROOT / name).parent / target if target else ROOT / name
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), f"{target}#{anchor}"


@pytest.mark.parametrize("name", READMES)
def test_commands_of_make_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", text_of(name))) <= targets

"""One filter for all requests: roles, and lexicons that change while it is in use."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serve_app.filtering import Action, ContentFilter, FilteringConfig, LexiconConfig, LexiconInvalid, Scanned
from tests.unit.serve_app.filtering.policies import HIDDEN
from tests.unit.serve_app.filtering.sse import frame, text


def _config(file: Path, *, prompts: bool = True, answers: bool = True) -> FilteringConfig:
    lexicon = LexiconConfig.model_validate(
        {
            "category": "arms",
            "files": [file],
            "action": "block",
            "roles": {"editor": "mask", "analyst": "flag", "admin": "allow"},
        }
    )
    return FilteringConfig(lexicons=(lexicon,), patterns={}, prompts=prompts, answers=answers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "arms.txt"
    path.write_text("weapon\n")
    return path


@pytest.mark.parametrize(
    ("roles", "action"),
    [
        ([], Action.BLOCK),
        (["guest"], Action.BLOCK),
        (["editor"], Action.MASK),
        (["editor", "analyst"], Action.FLAG),
        (["editor", "admin"], None),
    ],
)
def test_the_mildest_action_of_a_callers_roles_is_taken(
    file: Path, roles: list[str], action: Action | None
) -> None:
    content_filter = ContentFilter(_config(file))
    assert content_filter.check_prompt({"prompt": "a weapon"}, roles).verdict.action is action
    answer = content_filter.answer(roles)
    sent = answer.feed(frame(content="a weapon. "))
    assert answer.verdict.action is action
    shown = {Action.BLOCK: "a ", Action.MASK: f"a {HIDDEN}. "}
    assert text(sent) == (shown.get(action, "a weapon. ") if action else "a weapon. ")


def test_prompts_and_answers_are_filtered_apart(file: Path) -> None:
    content_filter = ContentFilter(_config(file, prompts=False))
    verdict = content_filter.check_prompt({"prompt": "a weapon"}, ()).verdict
    assert (verdict.action, verdict.scanned) == (None, Scanned.NOTHING)
    content_filter = ContentFilter(_config(file, answers=False))
    answer = content_filter.answer(())
    assert answer.feed(b"weapon") == b"weapon"
    assert answer.verdict.scanned is Scanned.NOTHING


def test_a_broken_lexicon_is_an_error_at_the_beginning(tmp_path: Path) -> None:
    with pytest.raises(LexiconInvalid, match="cannot be read"):
        ContentFilter(_config(tmp_path / "missing.txt"))


def test_a_changed_lexicon_is_in_use_for_what_comes_next_and_not_for_what_is_under_way(file: Path) -> None:
    content_filter = ContentFilter(_config(file))
    before = content_filter.version
    under_way = content_filter.answer(())
    file.write_text("knife\n")
    reload = content_filter.reload()
    assert reload.changed
    assert reload.problem is None
    assert reload.version == content_filter.version != before
    under_way.feed(frame(content="a weapon. "))
    assert under_way.verdict.blocked
    assert under_way.verdict.lexicon_version == before
    assert not content_filter.check_prompt({"prompt": "a weapon"}, ()).verdict.blocked
    assert content_filter.check_prompt({"prompt": "a knife"}, ()).verdict.blocked


def test_the_same_contents_are_the_same_version(file: Path) -> None:
    content_filter = ContentFilter(_config(file))
    file.write_text("weapon\n")
    reload = content_filter.reload()
    assert (reload.changed, reload.version) == (False, content_filter.version)


@pytest.mark.parametrize("broken", [b"knife\na\n", b"knife\n\xff\xfe\n", b"", None])
def test_a_broken_lexicon_keeps_the_old_one_and_says_why(file: Path, broken: bytes | None) -> None:
    content_filter = ContentFilter(_config(file))
    before = content_filter.version
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    reload = content_filter.reload()
    assert (reload.changed, reload.version, content_filter.version) == (False, before, before)
    assert str(file) in (reload.problem or "")
    assert content_filter.check_prompt({"prompt": "a weapon"}, ()).verdict.blocked
    assert not content_filter.check_prompt({"prompt": "a knife"}, ()).verdict.blocked


def test_every_verdict_during_reloads_is_of_one_lexicon(file: Path) -> None:
    content_filter = ContentFilter(_config(file))
    contents = ("weapon\n", "knife\n")
    versions = {}
    for content in contents:
        file.write_text(content)
        versions[content_filter.reload().version] = content.strip()
    over = threading.Event()

    def reload() -> None:
        for turn in range(200):
            other = file.with_suffix(".new")
            other.write_text(contents[turn % 2])
            other.replace(file)
            content_filter.reload()
        over.set()

    thread = threading.Thread(target=reload)
    thread.start()
    while not over.is_set():
        for word in ("weapon", "knife"):
            verdict = content_filter.check_prompt({"prompt": f"a {word}"}, ()).verdict
            assert verdict.blocked is (versions[verdict.lexicon_version] == word)
    thread.join()

"""Personal data is known by its form and its check digit."""

from __future__ import annotations

import pytest

from serve_app.filtering.config import PersonalData
from serve_app.filtering.policy import Policy
from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.policies import HIDDEN, policy_of

MASKED: list[PersonalData] = [kind for kind in PersonalData if kind is not PersonalData.PRIVATE_KEY]
POLICIES: dict[PersonalData, Policy] = {kind: policy_of({}, {kind: Action.MASK}) for kind in MASKED}
ALL = policy_of({}, dict.fromkeys(MASKED, Action.MASK))

FOUND = [
    (PersonalData.ID_CARD, "11010519491231002X"),
    (PersonalData.ID_CARD, "11010519491231002x"),
    (PersonalData.ID_CARD, "110105 19491231 002X"),
    (PersonalData.ID_CARD, "１１０１０５１９４９１２３１００２Ｘ"),
    (PersonalData.ID_CARD, "1 1 0 1 0 5 1 9 4 9 1 2 3 1 0 0 2 X"),
    (PersonalData.MOBILE_NUMBER, "13812345678"),
    (PersonalData.MOBILE_NUMBER, "138 1234 5678"),
    (PersonalData.MOBILE_NUMBER, "138-1234-5678"),
    (PersonalData.MOBILE_NUMBER, "+8613812345678"),
    (PersonalData.MOBILE_NUMBER, "1\u200b3812345678"),
    (PersonalData.BANK_CARD, "4111111111111111"),
    (PersonalData.BANK_CARD, "4111 1111 1111 1111"),
    (PersonalData.BANK_CARD, "378282246310005"),
    (PersonalData.BANK_CARD, "6222021234567890128"),
    (PersonalData.EMAIL, "li.si+x@mail.example.com"),
    (PersonalData.IP_ADDRESS, "192.168.0.1"),
    (PersonalData.IP_ADDRESS, "2001:db8::1"),
    (PersonalData.ACCESS_KEY, "AKIA" + "ABCDEFGH01234567"),
    (PersonalData.ACCESS_KEY, "sk-" + "a1B2" * 6),
    (PersonalData.ACCESS_KEY, "LTAI" + "a1B2" * 5),
]

NOT_FOUND = [
    (PersonalData.ID_CARD, "110105194912310021"),
    (PersonalData.ID_CARD, "110105194913310021"),
    (PersonalData.MOBILE_NUMBER, "12812345678"),
    (PersonalData.MOBILE_NUMBER, "138123456789"),
    (PersonalData.BANK_CARD, "4111111111111112"),
    (PersonalData.BANK_CARD, "0000000000000000"),
    (PersonalData.EMAIL, "a@b"),
    (PersonalData.IP_ADDRESS, "192.168.0.256"),
    (PersonalData.IP_ADDRESS, "12:30"),
    (PersonalData.ACCESS_KEY, "AKIA" + "short"),
]


@pytest.mark.parametrize(("kind", "text"), FOUND)
@pytest.mark.parametrize("around", ["{}", "号码是{}。", "({}) "])
def test_what_is_right_is_hidden_however_it_is_cut(kind: PersonalData, text: str, around: str) -> None:
    whole = around.format(text)
    for step in (1, 2, 3, 5, 8, len(whole)):
        stream = TextStream(POLICIES[kind])
        pieces = [whole[place : place + step] for place in range(0, len(whole), step)]
        shown = "".join([*map(stream.feed, pieces), stream.finish()])
        assert shown == around.format(HIDDEN)
        assert sum(stream.found.values()) == 1


@pytest.mark.parametrize(("kind", "text"), NOT_FOUND)
def test_what_is_wrong_arrives_unchanged(kind: PersonalData, text: str) -> None:
    stream = TextStream(POLICIES[kind])
    assert "".join([*map(stream.feed, text), stream.finish()]) == text
    assert not stream.found


@pytest.mark.parametrize("after", [" 2 apples", "-22", " 333 x"])
def test_a_card_is_found_before_digits_that_are_not_its_own(after: str) -> None:
    stream = TextStream(POLICIES[PersonalData.BANK_CARD])
    shown = "".join([*map(stream.feed, "4111 1111 1111 1111" + after), stream.finish()])
    assert shown == HIDDEN + after


def test_every_kind_is_found_beside_the_others() -> None:
    for _, text in FOUND:
        stream = TextStream(ALL)
        shown = "".join([*map(stream.feed, f"看 {text} 吧"), stream.finish()])
        assert shown == f"看 {HIDDEN} 吧"


def test_what_may_become_a_match_is_held_and_no_more() -> None:
    stream = TextStream(POLICIES[PersonalData.BANK_CARD])
    assert stream.feed("pay 4111 11") == "pay "
    assert stream.feed("x") == "4111 11x"


def test_what_is_only_flagged_is_not_held() -> None:
    stream = TextStream(policy_of({}, {PersonalData.EMAIL: Action.FLAG}))
    text = "write to li@example.com today"
    assert all(stream.feed(char) == char for char in text)
    assert stream.found == {("email", Action.FLAG): 1}


@pytest.mark.parametrize(("first", "blocked"), [("RSA PRIVATE KEY", True), ("CERTIFICATE", False)])
def test_a_private_key_ends_the_answer_before_its_first_line(first: str, blocked: bool) -> None:
    stream = TextStream(policy_of({}, {PersonalData.PRIVATE_KEY: Action.BLOCK}))
    shown = "".join(map(stream.feed, f"this: -----BEGIN {first}-----\nabc"))
    assert stream.blocked is blocked
    assert shown == ("this: " if blocked else f"this: -----BEGIN {first}-----\nabc")

"""Personal data and secrets: what they look like, and their check digits."""

from __future__ import annotations

import ipaddress
import re
import string
from collections.abc import Callable, Mapping
from datetime import date
from typing import Final

from serve_app.filtering.config import PersonalData
from serve_app.filtering.patterns import Form, Item, Pattern

_DIGIT: Final = frozenset(string.digits)
_LETTER: Final = frozenset(string.ascii_letters)
_WORD: Final = _DIGIT | _LETTER
_HEX: Final = frozenset(string.hexdigits)
_PARTING: Final = frozenset(" -")
_LOCAL: Final = _WORD | frozenset("._%+-")
_KEY: Final = _WORD | frozenset("_-")
_CAPITAL: Final = frozenset(string.ascii_uppercase)


def _literal(text: str) -> Form:
    return tuple(Item(frozenset(char)) for char in text)


def _begin(start: tuple[str, ...]) -> Form:
    return tuple(Item(frozenset(digits)) for digits in start)


def _digits(*groups: int) -> Form:
    """Groups of digits, each apart from the next by one space or dash, or by nothing."""
    form: list[Item] = []
    for size in groups:
        form += [Item(_PARTING, 0, 1)] if form else []
        form.append(Item(_DIGIT, size, size))
    return tuple(form)


_MOBILE: Final = (Item(frozenset("1")), Item(frozenset("3456789")))
_SPELLED_MOBILE: Final = (
    Item(frozenset("1")),
    Item(_PARTING),
    Item(frozenset("3456789")),
    *(item for _ in range(9) for item in (Item(_PARTING), Item(_DIGIT))),
)
_COUNTRY: Final = (
    (),
    *((*_literal(code), Item(_PARTING, 0, 1)) for code in ("+86", "86", "0086")),
)
# What a number begins with, digit by digit; the fewer, the less ordinary numbers have to wait for their end.
_CARD_STARTS: Final = (("4",), ("5",), ("2", "234567"), ("3", "0456789"), ("6",), ("8", "1"), ("9", "5"))
# The provinces of GB/T 2260; 9: permanent residents.
_ID_STARTS: Final = (
    ("1", "12345"),
    ("2", "123"),
    ("3", "1234567"),
    ("4", "123456"),
    ("5", "01234"),
    ("6", "12345"),
    ("7", "1"),
    ("8", "123"),
    ("9", "1"),
)
_X: Final = Item(_DIGIT | frozenset("Xx"))


def _spelled(count: int) -> Form:
    """Digits that follow a first one, each parted from the one before."""
    return tuple(item for _ in range(count) for item in (Item(_PARTING), Item(_DIGIT)))


def _id_cards() -> tuple[Form, ...]:
    parted = Item(_PARTING, 0, 1)
    rest = (Item(_DIGIT, 4, 4), parted, Item(_DIGIT, 8, 8), parted, Item(_DIGIT, 3, 3), _X)
    grouped = tuple((*_begin(start), *rest) for start in _ID_STARTS)
    first = Item(frozenset(start[0] for start in _ID_STARTS))
    return *grouped, (first, *_spelled(16), Item(_PARTING), _X)


def _bank_cards() -> tuple[Form, ...]:
    forms: list[Form] = []
    for start in _CARD_STARTS:
        rest = 4 - len(start)
        begin = (*_begin(start), Item(_DIGIT, rest, rest))
        parted = Item(_PARTING, 0, 1)
        fours = (parted, Item(_DIGIT, 4, 4), parted, Item(_DIGIT, 4, 4), parted, Item(_DIGIT, 1, 4))
        forms.append((*begin, *fours))
        forms.append((*begin, *fours[:-1], Item(_DIGIT, 4, 4), parted, Item(_DIGIT, 1, 3)))
    american_express = (*_literal("3"), Item(frozenset("47")), Item(_DIGIT, 2, 2), *_digits(0, 6, 5)[1:])
    spelled = tuple((Item(frozenset("3456")), *_spelled(length - 1)) for length in range(13, 20))
    return (*forms, american_express, *spelled)


def _pattern(forms: tuple[Form, ...], around: frozenset[str]) -> Pattern:
    return Pattern(forms, around, around)


def _keys() -> Pattern:
    """Of AWS, Alibaba Cloud, Tencent Cloud, OpenAI and its like, GitHub, and Google."""
    forms = (
        (*_literal("AKIA"), Item(_DIGIT | _CAPITAL, 16, 16)),
        (*_literal("ASIA"), Item(_DIGIT | _CAPITAL, 16, 16)),
        (*_literal("LTAI"), Item(_WORD, 12, 26)),
        (*_literal("AKID"), Item(_WORD, 32, 32)),
        (*_literal("sk-"), Item(_KEY, 20, 200)),
        (*_literal("ghp_"), Item(_WORD, 36, 36)),
        (*_literal("AIza"), Item(_KEY, 35, 35)),
    )
    return Pattern(forms, _WORD, _WORD, open_end=True)


_EMAIL: Final = (
    Item(_LOCAL, 1, 64),
    Item(frozenset("@")),
    Item(_WORD | frozenset(".-"), 1, 190),
    Item(frozenset(".")),
    Item(_LETTER, 2, 24),
)
_IPV4: Final = tuple(
    item for place in range(4) for item in ((*_literal("." if place else ""), Item(_DIGIT, 1, 3)))
)
_IPV6: Final = (
    Item(_HEX, 0, 4),
    Item(frozenset(":")),
    Item(_HEX | frozenset(":"), 1, 34),
)
_PRIVATE_KEY: Final = (
    *_literal("-----BEGIN "),
    Item(_CAPITAL | frozenset(" "), 0, 24),
    *_literal("PRIVATE KEY-----"),
)

PATTERNS: Final[Mapping[PersonalData, tuple[Pattern, ...]]] = {
    PersonalData.ID_CARD: (_pattern(_id_cards(), _DIGIT),),
    PersonalData.MOBILE_NUMBER: (
        _pattern(
            tuple(
                (*country, *rest)
                for country in _COUNTRY
                for rest in (
                    (*_MOBILE, Item(_DIGIT), *_digits(0, 4, 4)[1:]),
                    _SPELLED_MOBILE,
                )
            ),
            _DIGIT,
        ),
    ),
    PersonalData.BANK_CARD: (_pattern(_bank_cards(), _DIGIT),),
    PersonalData.EMAIL: (Pattern((_EMAIL,), _LOCAL, _WORD),),
    PersonalData.IP_ADDRESS: (
        Pattern((_IPV4,), _WORD | frozenset("."), _WORD),
        Pattern((_IPV6,), _WORD | frozenset(":"), _WORD | frozenset(":")),
    ),
    PersonalData.ACCESS_KEY: (_keys(),),
    PersonalData.PRIVATE_KEY: (Pattern((_PRIVATE_KEY,), frozenset(), frozenset()),),
}
"""What each kind of data looks like."""

_ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS: Final = "10X98765432"


def is_id_card(text: str) -> bool:
    """Whether 18 digits are an ID card's: a date of birth, and the check digit of GB 11643-1999."""
    number = re.sub(r"[ -]", "", text).upper()
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, _ID_WEIGHTS, strict=False))
    return _ID_CHECKS[total % 11] == number[17]


def is_bank_card(text: str) -> bool:
    """Whether the last digit is Luhn's check digit (ISO/IEC 7812-1) of the others."""
    digits = [int(char) for char in text if char in _DIGIT]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(digits) >= 13 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_ip_address(text: str) -> bool:
    """Whether the numbers are in range."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


CHECKS: Final[Mapping[PersonalData, Callable[[str], bool]]] = {
    PersonalData.ID_CARD: is_id_card,
    PersonalData.BANK_CARD: is_bank_card,
    PersonalData.IP_ADDRESS: is_ip_address,
}
"""The last word on what looks like it."""

"""A statement of usage as JSON and as CSV. Here, and only here, money is rounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final, Literal

from serve_app.usage import days
from serve_app.usage.statement import Line, Statement

Column = Literal["tenant", "user", "model", "day"]

_FIGURES: Final = tuple(field.name for field in fields(Line))
_MICRO_CNY: Final = Decimal("0.000001")
_STARTS_A_FORMULA: Final = tuple("=+-@\t\r\n＝＋－＠")


class Report:
    """A statement, ready to be written.

    Args:
        statement: What was used.
        by: What its lines are told apart by.
        utc_offset_s: Where its days begin.
    """

    def __init__(self, statement: Statement, by: tuple[Column, ...], utc_offset_s: int) -> None:
        self._statement = statement
        self._by = by
        self._utc_offset_s = utc_offset_s

    def json(self) -> dict[str, Any]:
        """As JSON can hold it; money in CNY to the millionth."""
        return {
            "by": self._by,
            "currency": "CNY",
            "data": [
                dict(zip(self._by, group, strict=True)) | _numbers(line) for group, line in self._lines()
            ],
            "total": _numbers(self._statement.total),
            "models_without_price": sorted(self._statement.models_without_price),
            "models_without_public_price": sorted(self._statement.models_without_public_price),
        }

    def csv(self) -> str:
        """As CSV (RFC 4180), with a line of names; no cell is a formula to a spreadsheet."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow((*self._by, *_FIGURES))
        for group, line in self._lines():
            writer.writerow((*map(_cell, group), *(_plain(getattr(line, name)) for name in _FIGURES)))
        return text.getvalue()

    def _lines(self) -> Iterator[tuple[list[str], Line]]:
        for group, line in self._statement.lines.items():
            yield [self._named(*part) for part in zip(self._by, group, strict=True)], line

    def _named(self, column: Column, value: str | int) -> str:
        return days.name(int(value), self._utc_offset_s) if column == "day" else str(value)


def _numbers(line: Line) -> dict[str, int | float | None]:
    return {name: _number(getattr(line, name)) for name in _FIGURES}


def _number(figure: int | Decimal | None) -> int | float | None:
    # Six places of up to a thousand million CNY are within what a float tells apart.
    return float(figure.quantize(_MICRO_CNY)) if isinstance(figure, Decimal) else figure


def _plain(figure: int | Decimal | None) -> str:
    """Without an exponent, which not everything that reads CSV knows."""
    if figure is None:
        return ""
    return f"{figure.quantize(_MICRO_CNY):f}" if isinstance(figure, Decimal) else str(figure)


def _cell(text: str) -> str:
    """Text that a spreadsheet takes for text: users choose their names, and accountants open the file."""
    return f"'{text}" if text.lstrip(" ").startswith(_STARTS_A_FORMULA) else text

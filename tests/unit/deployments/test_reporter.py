"""A replica's line to the board: telling never fails it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray import serve

from deployments import board as boards
from deployments.board import Board, Report
from deployments.reporter import Reporter


class Called:
    """An actor's method that is called at once."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def remote(self, replica: str, report: Report) -> Any:
        return self._board.report(replica, report)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    board = Board()
    context = SimpleNamespace(app_name="qwen-serve", replica_id=SimpleNamespace(unique_id="r1"))
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)
    monkeypatch.setattr(boards, "find", lambda _: SimpleNamespace(report=Called(board)))
    return board


async def test_failure_is_told_with_its_kind(board: Board) -> None:
    await Reporter("a").failed(FileNotFoundError("no weights"))
    assert (await board.news()).reports == {"r1": Report("a", failed="FileNotFoundError: no weights")}


async def test_progress_is_told_and_the_latest_counts(board: Board) -> None:
    reporter = Reporter("a")
    await reporter.loading("1 of 2 GiB")
    await reporter.loading("2 of 2 GiB")
    assert (await board.news()).reports == {"r1": Report("a", progress="2 of 2 GiB")}


@pytest.mark.parametrize("asleep", [True, False])
async def test_board_that_is_away_changes_nothing(
    board: Board, monkeypatch: pytest.MonkeyPatch, asleep: bool
) -> None:
    monkeypatch.setattr(boards, "find", lambda _: 1 / 0)
    assert await Reporter("a").sleeping(asleep=asleep) is asleep

"""The board's state, without the actor around it."""

from __future__ import annotations

import asyncio

from deployments.board import Board, ModelStatus, Report, Verdict
from deployments.fleet import Action, FleetConfig, FleetModel, ModelState, Reason

CONFIG = FleetConfig(models=(FleetModel(id="a"),))
HOT = ModelStatus(ModelState.HOT, replicas=1)
COLD = ModelStatus(ModelState.COLD)


def verdict(status: ModelStatus, *reasons: Reason, sleepers: frozenset[str] = frozenset()) -> Verdict:
    return Verdict({"a": status}, {"A100": (1.0, 4.0)}, reasons, sleepers, at=1.0)


async def test_policy_reads_what_the_others_have_told() -> None:
    board = Board()
    assert (await board.news()).config is None
    await board.configure(CONFIG)
    await board.report("r1", Report("a", progress="1 of 2 GiB"))

    news = await board.publish(verdict(COLD))

    assert news.config == CONFIG
    assert news.reports == {"r1": Report("a", progress="1 of 2 GiB")}
    assert (await board.news()).statuses == {"a": COLD}


async def test_watcher_hears_of_a_change_at_once() -> None:
    board = Board()
    await board.configure(CONFIG)
    await board.publish(verdict(COLD))
    seen = await board.watch(-1)
    assert seen.statuses == {"a": COLD}
    assert seen.configured

    waiting = asyncio.create_task(board.watch(seen.version))
    await board.publish(verdict(COLD))
    await asyncio.sleep(0)
    assert not waiting.done(), "nothing has changed"
    await board.publish(verdict(HOT))
    async with asyncio.timeout(5):
        assert (await waiting).statuses == {"a": HOT}


async def test_new_board_says_that_it_knows_no_models() -> None:
    assert not (await Board().watch(7)).configured


async def test_replica_is_told_to_sleep() -> None:
    board = Board()
    assert not await board.report("r1", Report("a"))
    await board.publish(verdict(HOT, sleepers=frozenset({"r1"})))
    assert await board.report("r1", Report("a"))
    assert not await board.report("r2", Report("a"))


async def test_reasons_are_kept_newest_first_and_repetitions_once() -> None:
    board = Board()
    await board.configure(CONFIG)
    waits = Reason(1.0, "a", Action.WAIT, "it waits for GPUs")
    await board.publish(verdict(COLD, waits))
    await board.publish(verdict(COLD, Reason(2.0, "a", Action.WAIT, "it waits for GPUs")))
    await board.publish(verdict(COLD, Reason(3.0, "a", Action.LOAD, "1 request waits for it")))

    shown = await board.reasons()

    assert [(one["action"], one["times"]) for one in shown] == [("load", 1), ("wait", 2)]
    assert shown[1]["last_at"] == 2.0


async def test_reports_are_bounded() -> None:
    board = Board()
    for number in range(1000):
        await board.report(f"r{number}", Report("a"))
    reports = (await board.news()).reports
    assert len(reports) == 256
    assert "r999" in reports

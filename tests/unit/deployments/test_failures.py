"""Replicas that do not start: each counted once, with the best reason there is."""

from __future__ import annotations

from deployments.board import Report
from deployments.failures import Failures
from deployments.fleet import Footprint, Phase, Replica

STARTING = Replica("r1", "a", Phase.STARTING, Footprint(1), "node")
FAILED = {"r1": Report("a", failed="RuntimeError: no such file")}


def watching() -> Failures:
    """One that has looked before anything began."""
    failures = Failures()
    failures.look([], set(), {}, {})
    return failures


def test_replica_that_says_why() -> None:
    failures = watching()
    failures.look([STARTING], set(), {"a": 1}, {})
    failures.look([STARTING], set(), {"a": 1}, FAILED)
    failures.look([], set(), {"a": 1}, FAILED)
    assert failures.total("a") == 1
    assert failures.reason("a") == "RuntimeError: no such file"


def test_replica_that_is_gone_first_and_explained_later() -> None:
    failures = watching()
    failures.look([STARTING], set(), {"a": 1}, {})
    failures.look([], set(), {"a": 1}, {})
    assert failures.total("a") == 1
    assert "before it was ready" in (failures.reason("a") or "")
    failures.look([], set(), {"a": 1}, FAILED)
    assert failures.total("a") == 1
    assert failures.reason("a") == "RuntimeError: no such file"


def test_replica_that_was_called_back_has_not_failed() -> None:
    failures = watching()
    failures.look([STARTING], set(), {"a": 1}, {})
    failures.look([], set(), {"a": 0}, {})
    assert failures.total("a") == 0


def test_replica_that_became_ready_has_not_failed() -> None:
    failures = watching()
    failures.look([STARTING], set(), {"a": 1}, {})
    failures.look([], {"r1"}, {"a": 1}, {})
    assert failures.total("a") == 0


def test_replica_that_was_never_placed_has_not_failed() -> None:
    failures = watching()
    failures.look([Replica("r1", "a", Phase.STARTING, Footprint(1), None)], set(), {"a": 1}, {})
    failures.look([], set(), {"a": 1}, {})
    assert failures.total("a") == 0


def test_each_of_several_counts() -> None:
    failures = watching()
    for name in ("r1", "r2", "r3"):
        failures.look([Replica(name, "a", Phase.STARTING, Footprint(1), "node")], set(), {"a": 1}, {})
    failures.look([], set(), {"a": 1}, {})
    assert failures.total("a") == 3


def test_replica_that_was_there_before_the_first_look_may_have_run_and_stop() -> None:
    failures = Failures()  # as Serve makes one with a changed configuration, while the old replica drains
    failures.look([STARTING], set(), {"a": 1}, {})
    failures.look([], set(), {"a": 1}, {})
    assert failures.total("a") == 0

    failures.look([], set(), {"a": 1}, FAILED)
    assert failures.total("a") == 1, "what it says of itself counts"

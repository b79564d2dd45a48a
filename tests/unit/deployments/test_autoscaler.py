"""The fleet policy as Serve's controller calls it: it never raises, and never waits."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID
from ray.serve.config import AutoscalingConfig

from deployments.autoscaler import FleetAutoscaler
from deployments.board import ModelStatus, News, Report, Verdict
from deployments.fleet import FleetConfig, FleetModel, ModelState
from deployments.growth import Growth
from tests.unit.deployments.sights import MadeUpGpus, context, held, identity, machine

CONFIG = FleetConfig(models=(FleetModel(id="a", accelerator="A100"),))
SLEEPY = FleetConfig(models=(FleetModel(id="a", accelerator="A100", sleep_bytes=1),), sleep_frees_gpus=False)


class Method:
    """A method of an actor, which answers when the test says so."""

    def __init__(self, board: HeldBoard) -> None:
        self._board = board

    def remote(self, *arguments: Any) -> Method:
        self._board.told += arguments
        return self

    def future(self) -> Future[News]:
        answer: Future[News] = Future()
        self._board.answers.append(answer)
        return answer


class HeldBoard:
    """A board that answers when the test says so."""

    def __init__(self, config: FleetConfig | None = CONFIG, **fields: Any) -> None:
        self.answers: list[Future[News]] = []
        self.told: list[Verdict] = []
        self.news = self.publish = Method(self)
        self.content = {"reports": {}, "statuses": {}, **fields, "config": config}

    def answer(self) -> None:
        """Answer all that was asked."""
        for answer in self.answers:
            answer.set_result(News(**self.content))
        self.answers.clear()


class Controller:
    """Serve's controller, as far as the policy sees it, with a clock that the test moves."""

    def __init__(self, board: HeldBoard | None = None, gpus: MadeUpGpus | None = None) -> None:
        self.board = board or HeldBoard()
        self.now = 0.0
        self.found = 0
        self.asked: list[list[dict[str, float]]] = []
        """What Ray's autoscaler was asked for, one after the other."""
        self.policy = FleetAutoscaler(
            self.find, gpus or MadeUpGpus([machine()]), Growth(self.request), lambda: self.now
        )

    def request(self, bundles: list[dict[str, float]]) -> None:
        self.asked.append(bundles)

    def find(self, application: str) -> HeldBoard:
        assert application == "qwen-serve"
        self.found += 1
        return self.board

    def tick(
        self, *, answer: bool = True, after_s: float = 1.0, running: tuple[str, ...] = (), **fields: Any
    ) -> dict[Any, int]:
        self.now += after_s
        targets, state = self.policy({identity("a"): context("a", *running, **fields)})
        assert state is None
        if answer:
            self.board.answer()
        return targets


def test_request_that_waits_loads_the_model() -> None:
    controller = Controller()
    assert controller.tick() == {}, "the board has not answered yet"
    assert controller.tick() == {}, "nobody asks"
    assert controller.tick(total=1.0, queued=1.0) == {identity("a"): 1}
    (reason,) = controller.board.told[-1].reasons
    assert reason.words.startswith("1 request")


def test_models_that_nobody_has_told_are_left_alone() -> None:
    controller = Controller(HeldBoard(config=None))
    for _ in range(3):
        assert controller.tick(total=1.0, queued=1.0) == {}
    controller.board.content["config"] = CONFIG
    controller.tick()
    assert controller.tick(total=1.0, queued=1.0) == {identity("a"): 1}


def test_board_that_does_not_answer_is_not_waited_for() -> None:
    controller = Controller()
    controller.tick()
    controller.tick()
    assert controller.tick(answer=False, total=1.0, queued=1.0) == {identity("a"): 1}
    for _ in range(3):
        controller.tick(answer=False, target=1)
    assert len(controller.board.answers) == 1, "asked once, until it answers"


def test_whatever_fails_is_kept_from_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = MadeUpGpus([machine()])
    controller = Controller(gpus=gpus)
    controller.tick()
    controller.tick()
    monkeypatch.setattr(gpus, "held", lambda _: 1 / 0)
    assert controller.tick(total=1.0, queued=1.0) == {}
    monkeypatch.undo()
    assert controller.tick(total=1.0, queued=1.0) == {}, "left alone for some seconds"
    controller.tick(after_s=10.0, total=1.0, queued=1.0)
    assert controller.tick(total=1.0, queued=1.0) == {identity("a"): 1}
    assert controller.found == 2, "the board is looked for again"


def test_board_that_has_died_is_looked_for_again() -> None:
    controller = Controller()
    controller.tick(answer=False)
    controller.board.answers.pop().set_exception(RuntimeError("the actor died"))
    assert controller.tick() == {}
    controller.tick(after_s=10.0)
    assert controller.tick(total=1.0, queued=1.0) == {identity("a"): 1}


def test_controller_that_was_started_anew_knows_the_load_times() -> None:
    learned = {"a": ModelStatus(ModelState.COLD, load_s=33.0)}
    controller = Controller(HeldBoard(statuses=learned))
    controller.tick()
    controller.tick()
    controller.tick()
    assert controller.board.told[-1].statuses["a"].load_s == 33.0


def test_load_that_failed_is_told_with_its_reason() -> None:
    gpus = MadeUpGpus([machine()], [held("a", "r1")])
    controller = Controller(gpus=gpus)
    controller.tick()
    controller.tick(target=1)
    controller.board.content["reports"] = {"r1": Report("a", failed="no weights")}
    controller.tick(target=1)
    controller.tick(target=1)
    status = controller.board.told[-1].statuses["a"]
    assert (status.state, status.error) == (ModelState.FAILED, "no weights")
    assert status.retry_in_s is not None


def test_load_is_told_with_its_progress_and_since_when() -> None:
    gpus = MadeUpGpus([machine(free=3.0)], [held("a", "r1")])
    controller = Controller(HeldBoard(reports={"r1": Report("a", progress="1 of 2 GiB")}), gpus)
    controller.tick()
    controller.tick(target=1, total=1.0, queued=1.0)
    controller.tick(target=1, total=1.0, queued=1.0)
    verdict = controller.board.told[-1]
    status = verdict.statuses["a"]
    assert (status.state, status.progress) == (ModelState.LOADING, "1 of 2 GiB")
    assert status.loading_since is not None
    assert verdict.gpus == {"A100": (1.0, 4.0)}


def test_replica_that_an_earlier_controller_sent_to_sleep_goes_on_sleeping() -> None:
    gpus = MadeUpGpus([machine(free=3.0)], [held("a", "r1")])
    controller = Controller(HeldBoard(SLEEPY, reports={"r1": Report("a", sleeping=True)}), gpus)
    controller.tick()
    for _ in range(3):
        controller.tick(running=("r1",), target=1)
    assert controller.board.told[-1].sleepers == frozenset({"r1"})
    assert controller.board.told[-1].statuses["a"].state is ModelState.WARM
    controller.tick(running=("r1",), target=1, total=1.0, queued=0.0)
    controller.tick(running=("r1",), target=1, total=1.0, queued=0.0)
    assert controller.board.told[-1].sleepers == frozenset(), "somebody asks"


def test_other_deployments_scale_by_their_queue() -> None:
    classifier = DeploymentID(name="Classifier", app_name="qwen-serve")
    busy = context("a", "c1", target=1, total=40.0)
    busy.deployment_id, busy.deployment_name = classifier, "Classifier"
    busy.config = AutoscalingConfig(min_replicas=1, max_replicas=4, target_ongoing_requests=16)
    controller = Controller()
    controller.now = 1.0
    targets, _ = controller.policy({classifier: busy, identity("a"): context("a")})
    assert targets == {classifier: 3}


def test_it_is_asked_ten_times_a_second_and_looks_twice() -> None:
    controller = Controller()
    controller.tick()
    controller.tick()
    before = len(controller.board.told)
    for _ in range(10):
        controller.tick(after_s=0.1)
    assert len(controller.board.told) - before == 2


def test_model_without_room_asks_for_a_machine_until_it_has_one() -> None:
    gpus = MadeUpGpus([machine("n1", 4, 0.0, "A100", "A100-80G"), machine("n2", 2, 2.0, "A10")])
    controller = Controller(gpus=gpus)
    for _ in range(8):
        controller.tick()
    for _ in range(40):
        assert controller.tick(total=1.0, queued=1.0) == {}
    whole = {"GPU": 4, "accelerator_type:A100": 0.001}
    assert controller.asked == [[], [whole, {"GPU": 1.0, "accelerator_type:A100": 0.001}]]

    gpus.nodes.append(machine("n3"))
    assert controller.tick(total=1.0, queued=1.0) == {identity("a"): 1}
    assert controller.asked[2:] == [[]], "what is asked for would stay, and keep idle machines"


def test_autoscaler_that_cannot_be_asked_keeps_nobody_from_running(caplog: pytest.LogCaptureFixture) -> None:
    controller = Controller()

    def request(bundles: list[dict[str, float]]) -> None:
        raise RuntimeError(f"nobody to ask for {bundles}")

    controller.policy = FleetAutoscaler(
        controller.find, MadeUpGpus([machine()]), Growth(request), lambda: controller.now
    )
    controller.tick()
    controller.tick()
    assert controller.tick(total=1.0, queued=1.0) == {identity("a"): 1}
    assert "could not be asked for machines" in caplog.text

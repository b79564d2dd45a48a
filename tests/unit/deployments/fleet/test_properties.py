"""What holds whatever happens: never over budget, never a busy model evicted, everybody served in the end."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from deployments.fleet import Action, Decision, Phase
from tests.unit.deployments.fleet.world import World, model

MODELS = (
    model("hot", min_replicas=1, max_replicas=3, target_ongoing_requests=4),
    model("half", gpu_share=0.5, max_replicas=2, target_ongoing_requests=4),
    model("quarter", gpu_share=0.25, target_ongoing_requests=8),
    model("one", max_replicas=2, target_ongoing_requests=4),
    model("other"),
    model("two", tensor_parallel_size=2),
    model("sleeper", gpu_share=0.5, sleep_bytes=10),
    model("slot", accelerator=None),
    model("slot-too", accelerator=None),
)
NAMES = st.sampled_from([each.id for each in MODELS])
_DOWN = (Action.EVICT, Action.SLEEP, Action.UNLOAD, Action.SHRINK)


class FleetMachine(RuleBasedStateMachine):
    """Four GPUs on two nodes and a slot for an engine on the CPU, and models that do not fit it together."""

    def __init__(self) -> None:
        super().__init__()
        rules = {"quiet_s": 5, "patience_s": 60, "look_back_s": 30}
        self.world = World(*MODELS, node_gpus=(2, 2), cpu_slots=1, host_memory_bytes=10, **rules)
        self.ready_at: dict[str, float] = {}

    @rule(name=NAMES, requests=st.integers(1, 30))
    def requests_come(self, name: str, requests: int) -> None:
        self.world.ask(name, requests)

    @rule(name=NAMES)
    def requests_end(self, name: str) -> None:
        if self.world.running(name):
            self.world.finish(name)

    @rule(name=NAMES, usage=st.one_of(st.none(), st.floats(0, 1)))
    def cache_fills(self, name: str, usage: float | None) -> None:
        self.world.demand[name].kv = usage

    @rule(name=NAMES)
    def clients_leave(self, name: str) -> None:
        self.world.demand[name].queued = 0

    @rule(name=NAMES)
    def figures_come_or_go(self, name: str) -> None:
        self.world.demand[name].known ^= True

    @rule(name=NAMES, seconds=st.sampled_from([1, 10, 70, 200]), busy=st.booleans())
    def model_is_used(self, name: str, seconds: float, busy: bool) -> None:
        """It is asked for, and others make room; then it idles, or has a request in hand on and on."""
        self.world.ask(name)
        for _ in range(3):
            self.time_passes(1)
            self.world.gone()
        self.world.ready(name)
        self.time_passes(1)
        if self.world.running(name) and not busy:
            self.world.finish(name)
        self.time_passes(seconds)

    @rule(name=NAMES)
    def model_comes_too_late(self, name: str) -> None:
        """Its clients have left by the time it is ready."""
        self.world.ask(name)
        self.time_passes(1)
        self.world.demand[name].queued = 0
        self.time_passes(700)
        self.world.ready(name)
        self.time_passes(1)

    @rule(name=NAMES)
    def replicas_become_ready(self, name: str) -> None:
        self.world.ready(name)

    @rule(name=NAMES)
    def start_fails(self, name: str) -> None:
        self.world.fail(name)

    @precondition(lambda self: any(r.phase is Phase.STOPPING for r in self.world.replicas.values()))
    @rule()
    def stopped_ones_are_gone(self) -> None:
        self.world.gone()

    @rule(seconds=st.sampled_from([0.5, 1, 5, 30, 61, 400, 700]))
    def time_passes(self, seconds: float) -> None:
        before = {name: self.world.running(name) for name in self.world.demand}
        demand = {name: each.ongoing + each.queued for name, each in self.world.demand.items()}
        known = {name for name, each in self.world.demand.items() if each.known}
        targets = dict(self.world.targets)
        self._note_ready(self.world.now + seconds)
        decision = self.world.tick(seconds)
        self._check(decision, before, demand, known, targets)

    def _note_ready(self, at: float) -> None:
        """The policy sees at its next look which models have more replicas than it last saw."""
        for name in self.world.demand:
            seen = self.world.state.memories.get(name)
            if seen is None or self.world.running(name) > seen.running:
                self.ready_at[name] = at

    def _check(
        self,
        decision: Decision,
        running: dict[str, int],
        demand: dict[str, int],
        known: set[str],
        targets: dict[str, int],
    ) -> None:
        for reason in decision.reasons:
            assert reason.words
            assert reason.model in known, "something was decided about a model of which nothing is known"
            if reason.action in _DOWN and running[reason.model]:
                since = self.world.now - self.ready_at[reason.model]
                assert since >= self.world.config.min_residency_s, "unloaded within its residency"
            if reason.action in (Action.EVICT, Action.SLEEP, Action.UNLOAD):
                assert demand[reason.model] == 0, "a busy model was unloaded"
                assert not self.world.config.by_id[reason.model].pinned
        for name, target in decision.targets.items():
            spec = self.world.config.by_id[name]
            # What was below the minimum may stay so for want of room; it never goes there.
            assert min(spec.min_replicas, targets[name]) <= target <= spec.max_replicas
        ordered = {*decision.targets, *decision.sleep, *decision.wake}
        assert ordered <= {reason.model for reason in decision.reasons}, "an order without a reason"

    @invariant()
    def never_over_budget(self) -> None:
        held: dict[tuple[str | None, int], int] = {}
        for replica in self.world.replicas.values():
            assert len(set(replica.devices)) == replica.footprint.gpus
            for device in replica.devices:
                key = replica.node, device
                held[key] = held.get(key, 0) + replica.footprint.share
        assert all(share <= 1000 for share in held.values())
        assert sum(replica.model in ("slot", "slot-too") for replica in self.world.replicas.values()) <= 1

    def teardown(self) -> None:
        """Everybody who waits is served, though all the others are used again and again, with pauses."""
        for each in self.world.demand.values():
            each.known, each.kv = True, 0.0
        waiting = {name for name, each in self.world.demand.items() if each.queued}
        for _ in range(200):
            if not waiting:
                return
            self.world.gone()
            self.world.ready()
            for name in filter(self.world.running, self.world.demand):
                self.world.ask(name)
                waiting.discard(name)
            self.world.tick(10)
            for name in filter(self.world.running, self.world.demand):
                self.world.finish(name)
            self.world.tick(10)
        raise AssertionError(f"never served: {waiting}")


FleetMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestFleet = FleetMachine.TestCase

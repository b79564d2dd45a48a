"""What the fleet remembers of one model from look to look: use, load times, failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from deployments.fleet.config import FleetConfig, FleetModel
from deployments.fleet.idleness import PAUSES_KEPT, worth_keeping_s
from deployments.fleet.moment import Moment
from deployments.fleet.observation import Load, Phase, Replica
from deployments.fleet.window import EMPTY, Window

_NEWEST_SHARE = 0.3
"""Weight of the newest measurement in a moving average: three loads after a change it is mostly forgotten."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one model. Times are the clock's, seconds.

    Attributes:
        last_used_at: When it last had a request.
        load_s: From placed to ready, moving average; a guess until it was measured.
        loads: How often it was measured.
        wake_s: From asleep to ready, moving average.
        keep_s: Idle time after which it is worth no GPU; learned from ``pauses_s``.
        pauses_s: Its latest long pauses between requests.
        pause_s: Moving average of all its pauses.
        running: Replicas that ran at the last look.
        ready_at: When a replica last became ready.
        starting: Placed replicas that load or wake: their ids, since when, and whether they wake.
        window: Peaks of the load.
        pressed_since: Since when there is more load than the replicas are meant for.
        failures: Failed starts since the last good one.
        retry_at: When it may be tried again.
        requests_total: The counter at the last look.
        failed_starts_total: The counter at the last look.
    """

    last_used_at: float
    load_s: float
    wake_s: float
    keep_s: float
    pauses_s: tuple[float, ...] = ()
    pause_s: float | None = None
    running: int = 0
    ready_at: float | None = None
    starting: tuple[tuple[str, float, bool], ...] = ()
    window: Window = EMPTY
    pressed_since: float | None = None
    failures: int = 0
    retry_at: float | None = None
    loads: int = 0
    requests_total: int | None = None
    failed_starts_total: int | None = None

    @classmethod
    def fresh(cls, model: FleetModel, moment: Moment) -> Memory:
        """Of a model seen for the first time: as if just used, so that a restart evicts nothing."""
        load_s, wake_s = model.expected_load_s, model.expected_wake_s
        return cls(moment.now, load_s, wake_s, _keep_s(model, (), load_s, moment.rules))

    def waking(self, replica: str, now: float) -> Memory:
        """With a replica that has been told to wake."""
        return replace(self, starting=(*self.starting, (replica, now, True)))

    def idle_s(self, now: float) -> float:
        """Since its last request."""
        return now - self.last_used_at

    def resident(self, now: float, min_residency_s: float) -> bool:
        """Whether it has run for as long as it must before it may go."""
        return self.ready_at is not None and now - self.ready_at >= min_residency_s

    def backs_off(self, now: float) -> bool:
        """Whether it failed lately and is not to be tried yet."""
        return self.retry_at is not None and now < self.retry_at


def remember(
    memory: Memory,
    model: FleetModel,
    load: Load,
    replicas: Sequence[Replica],
    moment: Moment,
) -> Memory:
    """The next memory, with what this look shows. Figures that are missing leave theirs as it was."""
    memory = _started(memory, load, replicas, moment)
    memory = _loaded(memory, model, load, moment)
    return _used(memory, model, load, moment)


def _started(memory: Memory, load: Load, replicas: Sequence[Replica], moment: Moment) -> Memory:
    """Replicas that became ready or failed: load times, failures."""
    memory = _failed(memory, load, moment)
    now = moment.now
    running = sum(replica.phase is Phase.RUNNING for replica in replicas)
    quiet = not memory.starting and not any(replica.phase is Phase.STARTING for replica in replicas)
    if quiet and running == memory.running:
        return memory
    since = {name: (at, wakes) for name, at, wakes in memory.starting}
    ready = [since[one.id] for one in replicas if one.phase is Phase.RUNNING and one.id in since]
    load_s, wake_s, loads = memory.load_s, memory.wake_s, memory.loads
    for at, wakes in ready:
        if wakes:
            wake_s = _mixed(wake_s, now - at)
        else:
            load_s = _mixed(load_s if loads else None, now - at)
            loads += 1
    more = bool(ready) or running > memory.running
    return replace(
        memory,
        running=running,
        starting=tuple(_starting(replicas, since, now)),
        load_s=load_s,
        wake_s=wake_s,
        loads=loads,
        ready_at=now if more else memory.ready_at if running else None,
        failures=0 if more else memory.failures,
        retry_at=None if more else memory.retry_at,
    )


def _starting(
    replicas: Sequence[Replica], since: Mapping[str, tuple[float, bool]], now: float
) -> Iterator[tuple[str, float, bool]]:
    """Those on their way, each with the time from which it is: when it was placed, or told to wake."""
    for replica in replicas:
        if replica.phase is Phase.STARTING and replica.node is not None:
            yield replica.id, *since.get(replica.id, (now, False))
        elif replica.phase is Phase.SLEEPING and replica.id in since:
            yield replica.id, *since[replica.id]


def _failed(memory: Memory, load: Load, moment: Moment) -> Memory:
    total, before = load.failed_starts_total, memory.failed_starts_total
    if total is None or total == before:
        return memory
    if before is None or total < before:  # the first look, or the counter began anew
        return replace(memory, failed_starts_total=total)
    failures = memory.failures + 1
    # Capped before it is raised: a model that fails for weeks must not overflow.
    doubled_s = moment.rules.failure_backoff_s * 2.0 ** min(failures - 1, 30)
    wait_s = min(moment.rules.failure_backoff_max_s, doubled_s)
    return replace(memory, failed_starts_total=total, failures=failures, retry_at=moment.now + wait_s)


def _loaded(memory: Memory, model: FleetModel, load: Load, moment: Moment) -> Memory:
    """Peaks of the load, and whether it is more than the replicas are meant for."""
    in_hand, usage = load.in_hand, load.kv_cache_usage
    if in_hand is None:
        return memory
    caches = None if usage is None else usage * memory.running
    size = memory.running + len(memory.starting)
    above = size > 0 and in_hand > model.target_ongoing_requests * size
    since = moment.now if memory.pressed_since is None else memory.pressed_since
    window = memory.window.add(moment.now, in_hand, caches, moment.rules.look_back_s)
    return replace(memory, window=window, pressed_since=since if above else None)


def _used(memory: Memory, model: FleetModel, load: Load, moment: Moment) -> Memory:
    """Use and pauses."""
    total, before = load.requests_total, memory.requests_total
    asked = bool(load.in_hand) or (total is not None and before is not None and total != before)
    if total is not None and total != before:
        memory = replace(memory, requests_total=total)
    if not asked:
        return memory
    pause = memory.idle_s(moment.now)
    if pause > moment.rules.quiet_s:
        memory = replace(memory, pause_s=_mixed(memory.pause_s, pause))
    if pause > moment.rules.idle_unload_min_s:
        pauses = (*memory.pauses_s, pause)[-PAUSES_KEPT:]
        keep_s = _keep_s(model, pauses, memory.load_s, moment.rules)
        memory = replace(memory, pauses_s=pauses, keep_s=keep_s)
    return replace(memory, last_used_at=moment.now)


def _keep_s(model: FleetModel, pauses_s: Sequence[float], load_s: float, rules: FleetConfig) -> float:
    load_cost = load_s * (1 + rules.waiting_weight / model.gpus)
    return worth_keeping_s(pauses_s, load_cost, rules.idle_unload_min_s, rules.idle_unload_s)


def _mixed(average: float | None, newest: float) -> float:
    return newest if average is None else average + _NEWEST_SHARE * (newest - average)

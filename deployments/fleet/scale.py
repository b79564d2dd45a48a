"""How many replicas a model should have, whether or not there is room for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deployments.fleet.config import FleetConfig, FleetModel
from deployments.fleet.memory import Memory
from deployments.fleet.moment import Moment
from deployments.fleet.view import View


@dataclass(frozen=True, slots=True)
class Wish:
    """How many replicas, and why.

    Attributes:
        replicas: Within the model's bounds.
        words: For people.
    """

    replicas: int
    words: str


def wish(view: View, moment: Moment) -> Wish | None:
    """What a model should have; None: leave it as it is, as where its load is not known."""
    model, in_hand = view.model, view.load.in_hand
    if in_hand is None or view.memory.backs_off(moment.now):
        return None
    if view.size < model.min_replicas:
        words = f"it is to have {model.min_replicas} replicas always, and has {view.size}"
        return Wish(model.min_replicas, words)
    if view.size == 0:
        return _first(model, in_hand)
    return _more(view, in_hand, moment) or _fewer(view, moment)


def waiting(requests: float) -> str:
    """How many wait, in words."""
    return "1 request waits" if requests == 1 else f"{requests:g} requests wait"


def _first(model: FleetModel, in_hand: float) -> Wish | None:
    if not in_hand:
        return None
    replicas = min(model.max_replicas, math.ceil(in_hand / model.target_ongoing_requests))
    return Wish(replicas, f"{waiting(in_hand)} for it, and it is not loaded")


def _more(view: View, in_hand: float, moment: Moment) -> Wish | None:
    """More replicas, as many as the requests in hand ask for, or one where the KV cache is full."""
    model, load, size = view.model, view.load, view.size
    if size >= model.max_replicas:
        return None
    needed = math.ceil(in_hand / model.target_ongoing_requests)
    since = view.memory.pressed_since
    pressed = since is not None and moment.now - since >= moment.rules.scale_up_after_s
    if needed > size and (load.queued or pressed):
        words = (
            f"{in_hand:g} requests in hand, {load.queued:g} of them in the queue, are more than {size} x "
            f"{model.target_ongoing_requests:g}"
        )
        return Wish(min(model.max_replicas, needed), words)
    usage = load.kv_cache_usage
    if usage is not None and usage >= moment.rules.kv_cache_high and view.memory.running >= size:
        return Wish(size + 1, f"the KV cache of its {size} replicas is {usage:.0%} full")
    return None


def _fewer(view: View, moment: Moment) -> Wish | None:
    """One replica fewer, where the rest would have carried the peak; none where nobody asks."""
    model, memory, rules, size = view.model, view.memory, moment.rules, view.size
    if memory.running < size or not memory.resident(moment.now, rules.min_residency_s):
        return None
    if not model.pinned and memory.idle_s(moment.now) >= memory.keep_s:
        return Wish(0, _idle_words(memory, rules))
    if size <= max(1, model.min_replicas) or not memory.window.covers(moment.now, rules.look_back_s):
        return None
    peak, caches = memory.window.in_hand, memory.window.kv_caches
    if caches is None and model.reports_kv_cache:
        return None
    left = size - 1
    spare = 1 - rules.down_margin
    if (
        peak > left * model.target_ongoing_requests * spare
        or (caches or 0) > left * rules.kv_cache_high * spare
    ):
        return None
    return Wish(left, f"the peak of {rules.look_back_s:g} s, {peak:g} requests, fits {left} replicas")


def _idle_words(memory: Memory, rules: FleetConfig) -> str:
    if memory.keep_s >= rules.idle_unload_s:
        return f"nobody has asked for it for {rules.idle_unload_s:g} s"
    return f"nobody has asked for it for {memory.keep_s:.0f} s, and keeping it costs more than a load"

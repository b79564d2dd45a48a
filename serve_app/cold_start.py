"""Requests to a model that is not loaded: they wait for it in a bounded queue, and are told for how long.

The request itself is with Serve already, where its waiting wakes the model, once for all that wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, TypeVar

from deployments.board import ModelStatus
from deployments.fleet import ModelState
from serve_app.config import IngressConfig
from serve_app.errors import EngineTimeout, ModelLoading
from serve_app.fleet import Fleet

T = TypeVar("T")

_FIRST_COMMENT_S = 1.0
"""Soon enough for a person to see that something happens."""

_LOOK_S = 0.5
"""A load that fails is noticed so soon."""


class ColdStarts:
    """The queues, one for each model.

    Args:
        config: Their bounds.
        fleet: Which models are loaded.
    """

    def __init__(self, config: IngressConfig, fleet: Fleet) -> None:
        self._config = config
        self._fleet = fleet
        self._waiting: Counter[str] = Counter()

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many requests wait, by model; those for which none ever did are left out."""
        return dict(self._waiting)

    def wait(self, model_id: str) -> Wait | None:
        """A place in the queue; None where the model answers at once, or nobody knows.

        Raises:
            ModelLoading: The queue is full, or the model did not load and is not tried again yet.
        """
        status = self._fleet.status(model_id)
        if status is None or status.state is ModelState.HOT:
            return None
        _refuse_failed(model_id, status)
        if self._waiting[model_id] >= self._config.max_waiting_for_load:
            raise _loading(
                f"The model {model_id!r} is being loaded, and as many requests wait for it as may", status
            )
        return Wait(model_id, self._config, self._fleet, self._waiting)


class Wait:
    """One request's place in a queue, from now until ``answer`` or ``comments`` is over."""

    def __init__(self, model_id: str, config: IngressConfig, fleet: Fleet, waiting: Counter[str]) -> None:
        self._model_id = model_id
        self._config = config
        self._fleet = fleet
        self._waiting = waiting
        self._begun = time.monotonic()
        self._awake_at: float | None = None

    @property
    def waited_s(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun

    async def answer(self, awaited: Coroutine[Any, Any, T]) -> T:
        """Wait for an answer without a word.

        Raises:
            ModelLoading: The model does not load, or not in time.
        """
        task = asyncio.ensure_future(awaited)
        async for _ in self.comments(task):
            pass
        return task.result()

    async def comments(self, task: asyncio.Task[Any]) -> AsyncGenerator[bytes, None]:
        """Comments for the client until the task is done, which is cancelled if nobody wants it any more.

        Raises:
            ModelLoading: The model does not load, or not in time.
            EngineTimeout: It has loaded, and does not answer.
        """
        self._waiting[self._model_id] += 1
        comment_at = self._begun + _FIRST_COMMENT_S
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_LOOK_S)
                if task.done():
                    return
                status = self._fleet.status(self._model_id)
                self._check(status)
                if time.monotonic() >= comment_at:
                    comment_at += self._config.loading_comment_interval_s
                    yield self._comment(status)
        finally:
            self._waiting[self._model_id] -= 1
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def _check(self, status: ModelStatus | None) -> None:
        now = time.monotonic()
        if status is None or status.state is ModelState.HOT:
            self._awake_at = now if self._awake_at is None else self._awake_at
            if now - self._awake_at >= self._config.first_token_timeout_s:
                raise EngineTimeout("The model was loaded, but its engine does not answer; try again later.")
            return
        self._awake_at = None
        _refuse_failed(self._model_id, status)
        if self.waited_s >= self._config.cold_start_timeout_s:
            raise _loading(
                f"The model {self._model_id!r} could not be loaded within {self.waited_s:.0f} s", status
            )

    def _comment(self, status: ModelStatus | None) -> bytes:
        left_s = status.ready_in_s if status is not None else 0.0
        text = f": loading {self._model_id} {self.waited_s:.0f} s of about {self.waited_s + left_s:.0f} s"
        if status is not None and status.place_in_queue is not None:
            text += f", place {status.place_in_queue} in the queue for GPUs"
        return f"{text}\n\n".encode()


def _refuse_failed(model_id: str, status: ModelStatus) -> None:
    if status.state is ModelState.FAILED:
        raise _loading(
            f"The model {model_id!r} could not be loaded; /admin/v1/fleet tells an administrator why",
            status,
        )


def _loading(what: str, status: ModelStatus) -> ModelLoading:
    wait_s = status.retry_in_s if status.retry_in_s is not None else status.ready_in_s
    retry_after_s = max(1, math.ceil(wait_s))
    return ModelLoading(
        f"{what}; try again in {retry_after_s} s.", headers={"retry-after": str(retry_after_s)}
    )

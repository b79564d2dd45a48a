"""An observed request as a record of the audit: the one translation between the two."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from serve_app import errors, observation
from serve_app.audit import AuditRecord, Outcome
from serve_app.filtering import Verdict
from serve_app.observation import Observation

_OUTCOMES: Final[dict[str | None, Outcome]] = {
    observation.CLIENT_GONE: Outcome.DISCONNECTED,
    errors.SlowReader.code: Outcome.DISCONNECTED,
    errors.Unauthenticated.code: Outcome.UNAUTHORIZED,
    errors.Forbidden.code: Outcome.FORBIDDEN,
    errors.ContentFiltered.code: Outcome.BLOCKED,
    errors.RateLimited.code: Outcome.LIMITED,
    errors.RequestTooLarge.code: Outcome.LIMITED,
    errors.EngineTimeout.code: Outcome.TIMEOUT,
    errors.Overloaded.code: Outcome.UNAVAILABLE,
    errors.ModelUnavailable.code: Outcome.UNAVAILABLE,
    errors.ModelLoading.code: Outcome.UNAVAILABLE,
    errors.RegistryUnavailable.code: Outcome.UNAVAILABLE,
    errors.Unrecordable.code: Outcome.UNAVAILABLE,
    errors.FilterSilent.code: Outcome.UNAVAILABLE,
    errors.StreamBroken.code: Outcome.FAILED,
    errors.InternalError.code: Outcome.FAILED,
}
"""By the code of the error, since a stream that fails has sent its status before; all else is invalid."""


def outcome_of(seen: Observation) -> Outcome:
    """How a request ended, in the audit's words; that something was blocked matters most."""
    if any(verdict.blocked for _, _, verdict in _told(seen)):
        return Outcome.BLOCKED
    if seen.error:
        return _OUTCOMES.get(seen.error, Outcome.INVALID)
    return Outcome.DONE


def record_of(seen: Observation, replica: str) -> AuditRecord:
    """The record of a request that has ended.

    Args:
        seen: What is known of it.
        replica: The ingress replica that served it.
    """
    caller, timing = seen.principal, seen.usage.timing
    queue_s = timing.queue_s if timing is not None else None
    return AuditRecord(
        timestamp=time.time() - (time.monotonic() - seen.started),
        request_id=seen.request_id,
        route=seen.path,
        outcome=outcome_of(seen),
        http_status=seen.status,
        latency_ms=seen.latency_s * 1000,
        user_id=caller.subject if caller is not None else "",
        tenant=caller.tenant if caller is not None else "",
        key_id=(caller.key_id or "") if caller is not None else "",
        task=seen.task,
        model=seen.model,
        alias=seen.alias,
        input_tokens=seen.usage.prompt_tokens,
        output_tokens=seen.usage.completion_tokens,
        stream=seen.stream,
        ttft_ms=None if seen.first_byte is None else (seen.first_byte - seen.started) * 1000,
        queue_ms=None if queue_s is None else queue_s * 1000,
        error_code=seen.error,
        replica=replica,
        client_address=seen.address,
        bytes_in=seen.bytes_in,
        bytes_out=seen.bytes_out,
        ledger_away=seen.ledger_away,
        verdicts=tuple(_verdicts(seen)),
        prompt=_content(seen, seen.prompt),
        answer=_content(seen, seen.answer),
    )


def _verdicts(seen: Observation) -> Iterator[Mapping[str, object]]:
    for direction, told_by, verdict in _told(seen):
        yield {"direction": direction, "filter": told_by, **verdict.record()}


def _told(seen: Observation) -> Iterator[tuple[str, str, Verdict]]:
    """The verdicts on a request: of what, by whom, which."""
    verdicts = (
        ("prompt", "phrases", seen.prompt_verdict),
        ("prompt", "classifier", seen.prompt_judgement),
        ("answer", "phrases", seen.answer_verdict),
        ("answer", "classifier", seen.answer_judgement),
    )
    yield from ((direction, by, verdict) for direction, by, verdict in verdicts if verdict is not None)


def _content(seen: Observation, kept: bytearray | None) -> bytes | None:
    # What administrators ask and are told is no content, and holds new keys.
    return bytes(kept) if kept and seen.task else None

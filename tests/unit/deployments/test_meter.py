"""Tokens of calls, also of those that are cut short."""

from __future__ import annotations

from types import SimpleNamespace

from deployments.call import Usage
from deployments.meter import Meter, MeteredStates


def state(engine_id: str, prompt_tokens: int, generated: int | None) -> SimpleNamespace:
    """What vLLM knows of one sequence; None of one of a pooling model."""
    detokenizer = None if generated is None else SimpleNamespace(num_output_tokens=lambda: generated)
    return SimpleNamespace(external_req_id=engine_id, prompt_len=prompt_tokens, detokenizer=detokenizer)


def test_sequences_of_one_prompt_share_it_and_prompts_add_up() -> None:
    meter = Meter()
    states = MeteredStates(meter)
    states |= {
        "a": state("chatcmpl-order-66", 7, 2),
        "b": state("chatcmpl-order-66", 7, 3),
        "c": state("cmpl-other-0", 5, 1),
        "d": state("cmpl-other-1", 6, 1),
    }
    with meter.open("order-66") as chat, meter.open("other") as completion:
        for key in "abcd":
            states.pop(key)

    assert chat.usage == Usage(7, 5)
    assert completion.usage == Usage(11, 2)


def test_prompt_whose_first_token_never_came_is_not_counted() -> None:
    meter = Meter()
    with meter.open("r1") as tally:
        meter.note("chatcmpl-r1", 7, 0)
    assert tally.usage == Usage()


def test_calls_that_are_over_and_pooling_models_count_nothing() -> None:
    meter = Meter()
    states = MeteredStates(meter)
    states["a"] = state("chatcmpl-over", 7, 2)
    states["b"] = state("embd-r1", 7, None)
    with meter.open("r1") as tally:
        assert states.pop("a").prompt_len == 7
        states.pop("b")
    assert states.pop("a", None) is None
    assert tally.usage == Usage()

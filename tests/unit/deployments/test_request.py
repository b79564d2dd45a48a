"""Bodies on their way to the engine: taken, or refused with the field at fault."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.call import Call, Reason, Task
from deployments.request import Refused, complaint, parse

USER = [{"role": "user", "content": "Hello!"}]


def request(task: Task = Task.CHAT, **body: Any) -> Any:
    defaults: dict[str, Any] = {"messages": USER} if task is Task.CHAT else {}
    return parse(Call(task, {"model": "qwen-max", **defaults, **body}, "qwen-max", "r-1"), "demo-chat")


def test_engine_sees_its_own_model_name_and_the_request_id() -> None:
    parsed = request(top_k=5)
    assert (parsed.model, parsed.request_id, parsed.top_k) == ("demo-chat", "r-1", 5)


@pytest.mark.parametrize("field", ["metadata", "store", "user", "service_tier", "prompt_cache_key"])
def test_fields_of_openai_without_effect_are_taken(field: str) -> None:
    body: dict[str, Any] = {field: "x"}
    assert request(**body)


@pytest.mark.parametrize(
    ("field", "reason", "message"),
    [
        ("max_token", Reason.UNKNOWN_FIELD, "did you mean max_tokens?"),
        ("temprature", Reason.UNKNOWN_FIELD, "did you mean temperature?"),
        ("foo", Reason.UNKNOWN_FIELD, "no field foo; leave it out"),
        ("<script>", Reason.UNKNOWN_FIELD, "no field with that name"),
        ("x" * 400, Reason.UNKNOWN_FIELD, "no field with that name"),
        ("kv_transfer_params", Reason.INVALID, "not taken from clients"),
        ("mm_processor_kwargs", Reason.INVALID, "not taken from clients"),
        ("request_id", Reason.INVALID, "not taken from clients"),
    ],
)
def test_field_that_is_not_taken_is_named(field: str, reason: Reason, message: str) -> None:
    body: dict[str, Any] = {field: 1}
    with pytest.raises(Refused) as refused:
        request(**body)
    assert refused.value.refusal.reason is reason
    assert message in refused.value.refusal.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"top_k": "many"}, "top_k"),
        ({"response_format": {"type": "nope"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"stop": ["x"] * 100}, "stop"),
        ({"logprobs": True, "top_logprobs": -2}, "top_logprobs"),
        ({"chat_template_kwargs": 5}, "chat_template_kwargs"),
    ],
)
def test_complaint_of_the_engine_names_the_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(Refused) as refused:
        request(**body)
    assert refused.value.refusal.reason is Reason.INVALID
    assert refused.value.refusal.param == param


def test_value_that_breaks_a_validator_of_the_engine_is_refused() -> None:
    with pytest.raises(Refused, match="wrong type"):
        request(structured_outputs=5)


def test_rerank_becomes_a_score_of_one_query_against_all_documents() -> None:
    parsed = request(Task.RERANK, query="q", documents=["a", "b"], top_n=1, return_documents=False)
    assert (parsed.text_1, parsed.text_2) == ("q", ["a", "b"])


@pytest.mark.parametrize(
    ("task", "field"), [(Task.RERANK, "queries"), (Task.SCORE, "data_1"), (Task.EMBEDDING, "messages")]
)
def test_fields_by_which_images_could_reach_a_pooling_model_are_refused(task: Task, field: str) -> None:
    bodies: dict[Task, dict[str, Any]] = {
        Task.RERANK: {"query": "q", "documents": ["d"]},
        Task.SCORE: {"text_1": "a", "text_2": "b"},
        Task.EMBEDDING: {"input": "x"},
    }
    with pytest.raises(Refused) as refused:
        request(
            task,
            **bodies[task],
            **{field: {"content": [{"type": "image_url", "image_url": {"url": "file:///"}}]}},
        )
    assert refused.value.refusal.reason is Reason.UNKNOWN_FIELD


def test_complaint_keeps_the_client_input_out() -> None:
    refusal = complaint(Reason.INVALID, "bad (parameter=messages, value=my secret)", "value of mine", None)
    assert refusal.message == "bad"
    assert refusal.param is None


def test_complaint_about_the_context_is_recognized() -> None:
    refusal = complaint(Reason.INVALID, "This model's maximum context length is 8 tokens.", None, None)
    assert refusal.reason is Reason.CONTEXT_LENGTH

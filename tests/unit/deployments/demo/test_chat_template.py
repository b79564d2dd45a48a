"""The chat template renders ChatML with tools and a thinking switch, and histories as they were generated."""

from typing import Any

import pytest

from deployments.demo.dialogue import weather_tool

QUESTION = {"role": "user", "content": "What is the weather in Beijing?"}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "北京"}}}


@pytest.fixture
def render(tokenizer: Any) -> Any:
    def render(*messages: dict[str, Any], **options: Any) -> str:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, **{"add_generation_prompt": True, **options}
        )
        return text

    return render


def test_default_system_prompt_and_an_empty_thought(render: Any) -> None:
    assert render(QUESTION) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nWhat is the weather in Beijing?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_custom_system_prompt_replaces_the_default(render: Any) -> None:
    text = render({"role": "system", "content": "Be brief."}, QUESTION)
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert "helpful assistant" not in text


def test_thinking_leaves_the_thought_to_the_model(render: Any) -> None:
    assert render(QUESTION, enable_thinking=True).endswith("<|im_start|>assistant\n")
    assert render(QUESTION, enable_thinking=False) == render(QUESTION)


def test_tools_stand_in_the_system_prompt(render: Any) -> None:
    text = render(QUESTION, tools=[weather_tool()])
    system = text.split("<|im_end|>")[0]
    assert '{"type": "function", "function": {"name": "get_weather"' in system
    assert "<tool_call>" in system
    assert "<tools>" not in render(QUESTION)


def test_call_and_report_are_rendered_in_hermes_form(render: Any) -> None:
    text = render(
        QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
        {"role": "tool", "content": "one"},
        {"role": "tool", "content": "two"},
        tools=[weather_tool()],
    )
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "北京"}}\n</tool_call>'
    reports = "<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response>"
    assert f"</think>\n\n{call}\n{call}<|im_end|>\n<|im_start|>user\n{reports}<|im_end|>\n" in text


def test_history_begins_as_it_was_generated(render: Any) -> None:
    first = render(QUESTION)
    later = render(
        QUESTION, {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "Thanks!"}
    )
    assert later.startswith(f"{first}Sunny.<|im_end|>\n<|im_start|>user\nThanks!")


def test_thoughts_of_earlier_turns_are_left_out(render: Any) -> None:
    answer = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nSunny."}
    text = render(QUESTION, answer, {"role": "user", "content": "Thanks!"})
    assert "Hm." not in text
    assert "</think>\n\nSunny.<|im_end|>" in text


def test_images_stand_where_the_message_has_them(render: Any) -> None:
    parts = [{"type": "text", "text": "Left:"}, {"type": "image_url"}, {"type": "text", "text": "Why?"}]
    assert "user\nLeft:<|vision_start|><|image_pad|><|vision_end|>Why?<|im_end|>" in render(
        {"role": "user", "content": parts}
    )


def test_rerank_template_takes_a_query_and_a_document_and_survives_other_roles(tokenizer: Any) -> None:
    from deployments.demo import corpus

    def rerank(*messages: dict[str, str]) -> str:
        text: str = tokenizer.apply_chat_template(
            list(messages), chat_template=corpus.template("rerank.jinja"), tokenize=False
        )
        return text

    text = rerank({"role": "query", "content": "q"}, {"role": "document", "content": "d"})
    assert "<Query>: q\n<Document>: d<|im_end|>" in text
    assert text.endswith("<|im_start|>assistant\n")
    assert "<Query>: \n" in rerank({"role": "user", "content": "x"})

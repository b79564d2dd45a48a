"""The allow-list of content parts."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from serve_app.errors import InvalidRequest, UnknownField
from serve_app.images.parts import read_messages
from tests.unit.serve_app.images.pictures import user

URL = "http://169.254.169.254/latest"


def test_plain_text_messages_are_taken_over_uncopied() -> None:
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "tool_calls": []}]
    read, images = read_messages(messages)
    assert [id(message) for message in read] == [id(message) for message in messages]
    assert images == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "hello"},
        {"type": "input_text", "text": "hello"},
        {"type": "output_text", "text": "hello"},
        {"type": "refusal", "refusal": "no"},
        {"type": "thinking", "thinking": "so", "closed": True},
    ],
)
def test_text_like_part_is_kept(part: dict[str, Any]) -> None:
    read, images = read_messages(user(part))
    assert read == user(part)
    assert images == []


def test_plain_string_part_becomes_a_text_part() -> None:
    assert read_messages(user("hello"))[0] == user({"type": "text", "text": "hello"})


def test_hints_of_other_services_are_dropped() -> None:
    part = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}
    assert read_messages(user(part))[0] == user({"type": "text", "text": "hello"})


@pytest.mark.parametrize(
    "value", [URL, {"url": URL}, {"url": URL, "detail": None}], ids=["string", "object", "null detail"]
)
def test_image_is_found_with_its_path_and_without_its_url_in_the_result(value: object) -> None:
    messages = user({"type": "text", "text": "?"}, {"type": "image_url", "image_url": value})
    before = copy.deepcopy(messages)
    read, [image] = read_messages(messages)
    assert (image.url, image.param) == (URL, "messages[1].content[1].image_url")
    assert read[1]["content"][1] == {"type": "image_url", "image_url": {}}
    assert messages == before


def test_detail_is_kept() -> None:
    read, _ = read_messages(user({"type": "image_url", "image_url": {"url": URL, "detail": "low"}}))
    assert read[1]["content"][0]["image_url"] == {"detail": "low"}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": URL}},
        {"type": "audio_url", "audio_url": {"url": URL}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "input_image", "image_url": URL},
        {"type": "image_pil", "image_pil": URL},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": "audio_embeds", "audio_embeds": "AAAA"},
        {"type": "video_embeds", "video_embeds": "AAAA"},
        {"type": "prompt_embeds", "data": "AAAA"},
        {"type": "tool_reference", "name": "get_weather"},
        {"type": "file", "file": {"file_id": "x"}},
        {"type": "image", "image": URL},
        {"type": "video", "video": [URL]},
        {"type": None, "image_url": URL},
        {"type": ["image_url"], "image_url": URL},
        {"type": {}, "image_url": URL},
        {"type": 1},
        {"image_url": URL},
        {"video_url": URL},
        {"audio_url": URL},
        {},
    ],
)
def test_part_of_another_type_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"Only text and image_url parts are accepted\.") as caught:
        read_messages(user(part))
    assert caught.value.param == "messages[1].content[0].type"


@pytest.mark.parametrize(
    ("part", "param"),
    [
        # The engine would read the URL out of each of the first three.
        ({"type": "text", "text": "x", "uuid": "1", "image_url": URL}, ""),
        ({"type": "refusal", "refusal": "x", "uuid": "1", "video_url": URL}, ""),
        ({"type": "image_url", "image_url": {"url": "data:,"}, "uuid": "1", "audio_url": URL}, ""),
        ({"type": "image_url", "image_url": {"url": "data:,"}, "uuid": "of another client"}, ""),
        ({"type": "text", "text": "x", "image": URL}, ""),
        ({"type": "text", "text": "x", URL: 1}, ""),
        ({"type": "image_url", "image_url": {"url": "data:,", "uuid": "1"}}, ".image_url"),
        ({"type": "image_url", "image_url": {"url": "data:,", URL: "1"}}, ".image_url"),
    ],
)
def test_field_that_is_not_listed_is_refused_and_not_echoed(part: dict[str, Any], param: str) -> None:
    with pytest.raises(UnknownField) as caught:
        read_messages(user(part))
    assert caught.value.param == f"messages[1].content[0]{param}"
    assert URL not in caught.value.message


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ({}, "messages"),
        ("hello", "messages"),
        (7, "messages"),
        ([None], "messages[0]"),
        (["hello"], "messages[0]"),
        ([[]], "messages[0]"),
        ([{"role": "user", "content": {}}], "messages[0].content"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": True}], "messages[0].content"),
        (user(None), "messages[1].content[0]"),
        (user(7), "messages[1].content[0]"),
        (user([]), "messages[1].content[0]"),
        (user({"type": "text"}), "messages[1].content[0].text"),
        (user({"type": "text", "text": None}), "messages[1].content[0].text"),
        (user({"type": "text", "text": ["x"]}), "messages[1].content[0].text"),
        (user({"type": "refusal", "refusal": {}}), "messages[1].content[0].refusal"),
        (user({"type": "thinking", "thinking": 1}), "messages[1].content[0].thinking"),
        (user({"type": "thinking", "thinking": "x", "closed": 1}), "messages[1].content[0].closed"),
        (user({"type": "image_url"}), "messages[1].content[0].image_url"),
        (user({"type": "image_url", "image_url": None}), "messages[1].content[0].image_url"),
        (user({"type": "image_url", "image_url": 7}), "messages[1].content[0].image_url"),
        (user({"type": "image_url", "image_url": []}), "messages[1].content[0].image_url"),
        (user({"type": "image_url", "image_url": {}}), "messages[1].content[0].image_url"),
        (user({"type": "image_url", "image_url": {"url": None}}), "messages[1].content[0].image_url"),
        (user({"type": "image_url", "image_url": {"url": {"url": URL}}}), "messages[1].content[0].image_url"),
        (
            user({"type": "image_url", "image_url": {"url": URL, "detail": "x"}}),
            "messages[1].content[0].image_url.detail",
        ),
        (
            user({"type": "image_url", "image_url": {"url": URL, "detail": []}}),
            "messages[1].content[0].image_url.detail",
        ),
    ],
)
def test_wrong_shape_is_refused_with_the_path_of_the_field(messages: object, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_messages(messages)
    assert caught.value.param == param
    assert caught.value.status_code == 400

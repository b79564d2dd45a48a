"""Whole requests, without a network."""

from __future__ import annotations

import asyncio
import copy
import re
from typing import Any

import pytest

from serve_app.errors import InvalidImage
from serve_app.images import ImageInliner, ImagePolicy
from tests.unit.serve_app.images.pictures import data_url, decoded, image_part, picture, user


async def refusal(messages: object, policy: ImagePolicy | None = None) -> InvalidImage:
    inliner = ImageInliner(policy or ImagePolicy())
    try:
        with pytest.raises(InvalidImage) as caught:
            await inliner.inline(messages)
    finally:
        await inliner.close()
    return caught.value


async def test_request_without_images_passes_unchanged_and_starts_nothing() -> None:
    inliner = ImageInliner(ImagePolicy())
    messages = [{"role": "user", "content": "hello"}]
    before = asyncio.all_tasks()
    assert await inliner.inline(messages) == messages
    assert asyncio.all_tasks() == before
    await inliner.close()


async def test_several_images_are_inlined_in_their_places() -> None:
    inliner = ImageInliner(ImagePolicy())
    messages = user(
        image_part(data_url(picture("PNG", size=(10, 20)))),
        {"type": "text", "text": "and"},
        {"type": "image_url", "image_url": data_url(picture("JPEG", size=(30, 40)), "image/png")},
    )
    before = copy.deepcopy(messages)
    first, text, second = (await inliner.inline(messages))[1]["content"]
    await inliner.close()
    assert messages == before
    assert text == {"type": "text", "text": "and"}
    assert decoded(first["image_url"]["url"]).size == (10, 20)
    assert decoded(second["image_url"]["url"]).size == (30, 40)
    assert second["image_url"]["url"].startswith("data:image/jpeg;base64,")


async def test_broken_image_among_good_ones_is_named() -> None:
    good = image_part(data_url(picture()))
    error = await refusal(user(good, good, image_part(data_url(picture()[:-40])), good))
    assert error.param == "messages[1].content[2].image_url"
    assert "truncated" in error.message
    assert (error.status_code, error.code) == (400, "invalid_image")


async def test_more_images_than_allowed_over_all_messages_are_refused() -> None:
    part = image_part(data_url(picture()))
    error = await refusal(user(part, part) + user(part), ImagePolicy(max_images_per_request=2))
    assert error.param == "messages[3].content[0].image_url"
    assert "at most 2" in error.message


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must be a data: URL"),
        ("iVBORw0KGgo=", "must be a data: URL"),
        ("http://example.com/a.png", "http://"),
        ("HTTP://example.com/a.png", "http://"),
        ("file:///etc/passwd", "no other scheme"),
        ("FILE:/etc/passwd", "no other scheme"),
        ("ftp://example.com/a.png", "no other scheme"),
        ("//example.com/a.png", "no other scheme"),
        ("s3://bucket/a.png", "no other scheme"),
        ("javascript:alert(1)", "no other scheme"),
        ("https:example.com/a.png", "no other scheme"),
        (" https://example.com/a.png", "no other scheme"),
        ("https://example.com/a b.png", "white space"),
        ("https://example.com\\@evil.net/a.png", "backslash"),
        ("https://exam\tple.com/a.png", "control character"),
        ("https://example.com/\ud800.png", "not well formed"),
        ("https://\ud800.com/", "not well formed"),
        ("https://[::1/a.png", "not well formed"),
        ("https://example.com:99999/a.png", "not well formed"),
        ("https://user:secret@example.com/a.png", "credentials"),
        ("https://user@example.com/a.png", "credentials"),
        ("https://@example.com/a.png", "credentials"),
        ("https://user%40example.com/a.png", "by a DNS name"),
        ("https:///a.png", "by a DNS name"),
        ("https://127.0.0.1/a.png", "not by an address"),
        ("https://127.1/a.png", "not by an address"),
        ("https://2130706433/a.png", "not by an address"),
        ("https://0x7f000001/a.png", "not by an address"),
        ("https://0x7f.0.0.1/a.png", "not by an address"),
        ("https://0177.0.0.1/a.png", "not by an address"),
        ("https://１２７.0.0.1/a.png", "not by an address"),
        ("https://169.254.169.254/latest/meta-data", "not by an address"),
        ("https://[::1]/a.png", "not by an address"),
        ("https://[::ffff:127.0.0.1]/a.png", "not by an address"),
        ("https://[fe80::1%25eth0]/a.png", "not by an address"),
        ("https://a..b/a.png", "by a DNS name"),
        ("https://evil.net/a.png", r"Images from evil\.net are not allowed.*images\.allowed_hosts"),
        ("https://evil.net#@example.com/a.png", r"evil\.net are not allowed"),
        ("https://evil.net?@example.com/a.png", r"evil\.net are not allowed"),
        ("https://example.com.evil.net/a.png", "are not allowed"),
        ("https://example.com:8443/a.png", r"Images from example\.com:8443 are not allowed"),
        ("https://example.com:0/a.png", r"are not allowed"),
        ("https://example.com/" + "a" * 9000, "longer than 8192"),
    ],
)
async def test_url_that_is_not_allowed_is_refused_without_network(url: str, says: str) -> None:
    policy = ImagePolicy(allowed_hosts=("example.com", "*.example.com"))
    # An image that would need the network comes first: nothing is fetched before all are checked.
    error = await refusal(user(image_part("https://unreachable.example.com/a.png"), image_part(url)), policy)
    assert error.param == "messages[1].content[1].image_url"
    assert re.search(says, error.message), error.message
    assert "secret" not in error.message


async def test_default_policy_refuses_every_remote_image() -> None:
    error = await refusal(user(image_part("https://example.com/a.png")))
    assert "images.allowed_hosts" in error.message


async def test_size_is_checked_before_base64_is_decoded() -> None:
    # Not base64 at all, so only a check of the length can find that it is too long.
    error = await refusal(
        user(image_part("data:image/png;base64," + "!" * 2000)), ImagePolicy(max_bytes=1000)
    )
    assert "more than 1000 bytes" in error.message


async def test_cancelled_request_ends_its_images() -> None:
    inliner = ImageInliner(ImagePolicy())
    part = image_part(data_url(picture("PNG", size=(1500, 1500))))
    task = asyncio.ensure_future(inliner.inline(user(*[part] * 16)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [other for other in asyncio.all_tasks() if other is not asyncio.current_task()]
    await inliner.close()


async def test_same_inliner_serves_many_requests_at_once() -> None:
    inliner = ImageInliner(ImagePolicy())

    async def ask(width: int) -> Any:
        messages = user(image_part(data_url(picture(size=(width, 8)))))
        return (await inliner.inline(messages))[1]["content"][0]["image_url"]["url"]

    urls = await asyncio.gather(*(ask(width) for width in range(8, 40)))
    await inliner.close()
    assert [decoded(url).size for url in urls] == [(width, 8) for width in range(8, 40)]

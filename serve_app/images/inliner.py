"""Inlining: every image of a request becomes a verified ``data:`` URL."""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp.abc import AbstractResolver
from yarl import URL

from serve_app.errors import InvalidImage
from serve_app.images.decode import data_url_payload, inline_bytes, inline_payload
from serve_app.images.fetch import ImageFetcher, parse_location
from serve_app.images.parts import ImageRef, read_messages
from serve_app.images.policy import ImagePolicy

# Of the whole process: an image of 16 Mi pixels takes up to 112 MiB while it is decoded.
_DECODE_THREADS = 2


class ImageInliner:
    """Fetches, checks and inlines images, so that the engine never touches the network.

    Args:
        policy: What is allowed.
        resolver: Looks host names up; the system's resolver if left out.
        ssl_context: Decides about certificates; the system's authorities if left out.
    """

    def __init__(
        self,
        policy: ImagePolicy,
        *,
        resolver: AbstractResolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._fetcher = ImageFetcher(policy, resolver=resolver, ssl_context=ssl_context)
        # Starts its threads with the first image.
        self._decoders = ThreadPoolExecutor(_DECODE_THREADS, thread_name_prefix="image-decode")

    async def inline(self, messages: object) -> list[dict[str, Any]]:
        """Messages for the engine: accepted parts only, each image as a ``data:`` URL that decodes.

        `messages` is not changed. All that can be refused without work is refused before any download.

        Raises:
            InvalidRequest: The messages' shape is wrong, or a part is not accepted; `param` says which.
            InvalidImage: An image is not acceptable; `param` says which.
        """
        checked, images = read_messages(messages)
        if not images:
            return checked
        limit = self._policy.max_images_per_request
        if len(images) > limit:
            raise InvalidImage(
                f"The request has {len(images)} images; at most {limit} are accepted. Send fewer.",
                param=images[limit].param,
            )
        sources = [self._source(image) for image in images]
        try:
            # A group, because the first bad image ends the work on the others.
            async with asyncio.TaskGroup() as group:
                for image, source in zip(images, sources, strict=True):
                    group.create_task(self._replace(image, source))
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            raise first from first.__cause__
        return checked

    async def close(self) -> None:
        """Ends open downloads and the decoding threads."""
        await self._fetcher.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    def _source(self, image: ImageRef) -> str | URL:
        """The base64 text of an image that came along, or the URL of a remote one."""
        try:
            if image.url[:5].lower() == "data:":
                return data_url_payload(image.url, self._policy)
            return parse_location(image.url, self._policy)
        except InvalidImage as exc:
            raise InvalidImage(exc.message, param=image.param) from exc

    async def _replace(self, image: ImageRef, source: str | URL) -> None:
        loop = asyncio.get_running_loop()
        try:
            if isinstance(source, URL):
                data = await self._fetcher.fetch(source)
                url = await loop.run_in_executor(self._decoders, inline_bytes, data, self._policy)
            else:
                url = await loop.run_in_executor(self._decoders, inline_payload, source, self._policy)
        except InvalidImage as exc:
            raise InvalidImage(exc.message, param=image.param) from exc
        image.target["url"] = url

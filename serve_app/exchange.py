"""One request to a model, from arrival to its last byte: the steps, in order, for every route.

authenticate -> validate -> authorize -> reserve -> filter the prompt -> inline images -> call -> filter the
answer -> encode -> settle.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from deployments.call import DONE, Call, Reason, Refusal, StreamItem, Task, Usage
from serve_app import observation, schema
from serve_app.admission import Admission
from serve_app.auth.principal import Principal
from serve_app.body import read_json
from serve_app.cold_start import ColdStarts, Wait
from serve_app.config import IngressConfig
from serve_app.errors import (
    ApiError,
    ContextLengthExceeded,
    EngineTimeout,
    InternalError,
    InvalidRequest,
    Overloaded,
    UnknownField,
)
from serve_app.images import ImageInliner
from serve_app.observation import Observation
from serve_app.prompt_size import measure
from serve_app.screening import Screening
from serve_app.upstream import Upstream

_SCHEMAS: Final[Mapping[Task, type[schema.AnyRequest]]] = {
    Task.CHAT: schema.ChatRequest,
    Task.COMPLETION: schema.CompletionRequest,
    Task.EMBEDDING: schema.EmbeddingRequest,
    Task.RERANK: schema.RerankRequest,
    Task.SCORE: schema.ScoreRequest,
}

_REFUSALS: Final[Mapping[Reason, type[ApiError]]] = {
    Reason.INVALID: InvalidRequest,
    Reason.UNKNOWN_FIELD: UnknownField,
    Reason.CONTEXT_LENGTH: ContextLengthExceeded,
    Reason.OVERLOADED: Overloaded,
}

_STREAM_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class Exchange:
    """Runs requests to models.

    Args:
        config: Limits of the ingress.
        admission: Whether a request may go ahead.
        screening: Filters prompts and answers.
        images: Verifies images, and fetches those that are remote.
        upstream: Reaches the models.
        cold_starts: Where requests wait for a model that is not loaded.
    """

    def __init__(  # noqa: PLR0913  (its collaborators)
        self,
        config: IngressConfig,
        *,
        admission: Admission,
        screening: Screening,
        images: ImageInliner,
        upstream: Upstream,
        cold_starts: ColdStarts,
    ) -> None:
        self._config = config
        self._cold_starts = cold_starts
        self._admission = admission
        self._screening = screening
        self._images = images
        self._upstream = upstream

    async def run(self, request: Request, task: Task) -> Response:
        """Answer one request.

        Raises:
            ApiError: Whatever ends the request before its first byte.
        """
        seen = observation.of(request.scope)
        seen.task = task.value
        deadline = asyncio.get_running_loop().time() + self._config.request_timeout_s
        principal = await self._admission.authenticate(request)
        content = await read_json(request, self._config.max_body_bytes)
        body = schema.decode(content)
        asked = schema.validate(_SCHEMAS[task], body)
        model = self._admission.model_for(principal, asked.model, task)
        seen.model, seen.alias = model.config.id, model.name
        self._bound(asked)
        wait = self._cold_starts.wait(model.config.id)
        try:
            async with asyncio.timeout_at(deadline) as bound:
                size = measure(content, body, schema.prompts(asked))
                admitted = await self._admission.reserve(principal, model, asked, size)
                admitted.observe(seen)
                seen.expect_bill(admitted.settle)
                body = await self._prepared(body, len(content), principal, seen)
                call = Call(task, body, model.name, seen.engine_request_id)
                if getattr(asked, "stream", False):
                    seen.stream = True
                    items = self._upstream.stream(model.config.id, call, seen.bill)
                    shown = self._screening.stream(items, schema.choices(asked), principal, seen)
                    if wait is not None:
                        return _stream(self._woken(wait, shown, seen))
                    return await self._begin_stream(shown, seen, deadline)
                if wait is not None:
                    bound.reschedule(deadline + self._config.cold_start_timeout_s)
                return await self._answer(call, model.config.id, principal, seen, wait)
        except TimeoutError as error:
            raise self._timeout() from error

    async def _prepared(
        self, body: dict[str, Any], size_bytes: int, principal: Principal, seen: Observation
    ) -> dict[str, Any]:
        """The request as the engine gets it: filtered, images verified. One that ends here costs nothing."""
        try:
            body = await self._screening.prompt(body, size_bytes, principal, seen)
            if seen.task == Task.CHAT:
                body = {**body, "messages": await self._images.inline(body["messages"])}
        except BaseException:
            seen.bill(Usage())
            raise
        return body

    def _bound(self, asked: schema.AnyRequest) -> None:
        """Refuse what would occupy an engine out of all proportion."""
        match asked:
            case schema.ChatRequest(n=int(n)) | schema.CompletionRequest(n=int(n)) if (
                n > self._config.max_choices
            ):
                raise InvalidRequest(f"n may be at most {self._config.max_choices}.", param="n")
            case schema.CompletionRequest(prompt=[str() | list(), *_] as prompts):
                self._bound_inputs(len(prompts), "prompt")
            case schema.EmbeddingRequest(input=list(texts)):
                self._bound_inputs(len(texts), "input")
            case schema.RerankRequest(documents=documents):
                self._bound_inputs(len(documents), "documents")
            case schema.ScoreRequest():
                self._bound_inputs(len(asked.text_1) if isinstance(asked.text_1, list) else 1, "text_1")
                self._bound_inputs(len(asked.text_2) if isinstance(asked.text_2, list) else 1, "text_2")
            case _:
                pass

    def _bound_inputs(self, count: int, param: str) -> None:
        if count > self._config.max_inputs:
            raise InvalidRequest(
                f"{param} has {count} texts; send at most {self._config.max_inputs} at once.", param=param
            )

    async def _answer(
        self, call: Call, model_id: str, principal: Principal, seen: Observation, wait: Wait | None
    ) -> Response:
        awaited = self._upstream.answer(model_id, call, seen.bill)
        answer = await (awaited if wait is None else wait.answer(awaited))
        if isinstance(answer, Refusal):
            raise _error(answer, seen)
        shown = await self._screening.answer(answer.body, principal, seen)
        return Response(shown, media_type="application/json")

    async def _begin_stream(
        self, items: AsyncGenerator[StreamItem, None], seen: Observation, deadline: float
    ) -> Response:
        try:
            async with self._bound_to(self._config.first_token_timeout_s, deadline):
                first = await anext(items)
            if isinstance(first, Refusal):
                raise _error(first, seen)
        except BaseException:
            await items.aclose()
            raise
        seen.mark_first_byte()
        return _stream(self._events(first, items, seen, deadline))

    async def _woken(
        self, wait: Wait, items: AsyncGenerator[StreamItem, None], seen: Observation
    ) -> AsyncGenerator[bytes, None]:
        """The events of a stream whose model is being loaded: comments, until there is a first frame."""
        first = asyncio.ensure_future(anext(items))
        comments = wait.comments(first)
        try:
            async for comment in comments:
                yield comment
            begun = first.result()
        except ApiError as error:
            yield _failed(error, seen) + DONE
            await items.aclose()
            return
        except BaseException:
            seen.error = observation.CLIENT_GONE
            await comments.aclose()
            await items.aclose()
            raise
        seen.mark_first_byte()
        deadline = asyncio.get_running_loop().time() + self._config.request_timeout_s
        events = self._events(begun, items, seen, deadline)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def _events(
        self,
        first: StreamItem,
        rest: AsyncGenerator[StreamItem, None],
        seen: Observation,
        deadline: float,
    ) -> AsyncGenerator[bytes, None]:
        """The stream's events. A failure after the first byte is an event of its own, then ``[DONE]``."""
        try:
            item: StreamItem | None = first
            while item is not None:
                if isinstance(item, Refusal):
                    raise _error(item, seen)
                yield item
                async with self._bound_to(self._config.idle_timeout_s, deadline):
                    item = await anext(rest, None)
        except TimeoutError:
            yield _failed(self._timeout(), seen)
        except ApiError as error:
            yield _failed(error, seen)
        except (GeneratorExit, asyncio.CancelledError):
            seen.error = observation.CLIENT_GONE
            raise
        finally:
            await rest.aclose()
        # A comment of the event stream: clients pass over it.
        yield f": server-timing {seen.server_timing()}\n\n".encode() + DONE

    @staticmethod
    def _bound_to(timeout_s: float, deadline: float) -> asyncio.Timeout:
        return asyncio.timeout_at(min(asyncio.get_running_loop().time() + timeout_s, deadline))

    @staticmethod
    def _timeout() -> EngineTimeout:
        return EngineTimeout("The engine did not answer in time; ask for fewer tokens, or try again later.")


def _stream(events: AsyncGenerator[bytes, None]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream", headers=_STREAM_HEADERS)


def _failed(error: ApiError, seen: Observation) -> bytes:
    seen.error = error.code or error.type
    return b"data: " + error.render() + b"\n\n"


def _error(refusal: Refusal, seen: Observation) -> ApiError:
    """A replica's refusal as this API's error; what failed inside the engine stays inside."""
    if refusal.reason is Reason.FAILED:
        return InternalError(
            f"The engine failed; the operator finds the reason by the request id {seen.request_id}."
        )
    headers = {"retry-after": "1"} if refusal.reason is Reason.OVERLOADED else None
    return _REFUSALS[refusal.reason](refusal.message, param=refusal.param, headers=headers)

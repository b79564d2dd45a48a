"""May this request go ahead: who is asking, what they may use, and how much is left of it."""

from __future__ import annotations

import time
from typing import Final

from starlette.requests import Request

from deployments.call import Task, Usage
from serve_app import observation, schema
from serve_app.auth.authenticator import Authenticator
from serve_app.auth.bearer import refusal
from serve_app.auth.outage import AuthenticationUnavailable
from serve_app.auth.principal import Principal
from serve_app.auth.roles import Roles
from serve_app.config import AppConfig
from serve_app.errors import ApiError, Forbidden, RateLimited, RegistryUnavailable, RequestTooLarge
from serve_app.limits import (
    Caller,
    LedgerAway,
    Limiter,
    LimitExceeded,
    LimitRefusal,
    Reservation,
    rate_limit_headers,
    retry_headers,
)
from serve_app.limits.headers import duration
from serve_app.models import ModelTable, NamedModel
from serve_app.observation import Observation
from serve_app.prompt_size import PromptBound, PromptSize

_LONGEST_ANSWER_TOKENS: Final = 131_072
"""Of a model whose context the configuration does not name; the estimate stays below it."""


class Admission:
    """The steps before a request reaches a model.

    Args:
        config: Which roles there are, and whether forbidden models are hidden.
        authenticator: Who is asking.
        models: What there is.
        limiter: What is left.
    """

    def __init__(
        self, config: AppConfig, authenticator: Authenticator, models: ModelTable, limiter: Limiter
    ) -> None:
        self._config = config
        self._authenticator = authenticator
        self._roles = Roles(config.auth.roles)
        self._models = models
        self._limiter = limiter
        self._prompts = PromptBound()

    async def authenticate(self, request: Request) -> Principal:
        """Who is asking.

        Raises:
            Unauthenticated: No credential that holds.
            RegistryUnavailable: The credential cannot be judged now.
        """
        seen = observation.of(request.scope)
        given = request.headers.getlist("authorization")
        if len(given) > 1:
            raise refusal("There are several Authorization headers; send one.")
        try:
            principal = await self._authenticator.authenticate(given[0] if given else None, seen.address)
        except AuthenticationUnavailable as error:
            raise RegistryUnavailable(str(error), headers={"retry-after": "5"}) from error
        seen.principal = principal
        return principal

    async def administrator(self, request: Request) -> Principal:
        """Who is asking, if they may administer.

        Raises:
            ApiError: See ``authenticate``.
            Forbidden: They may not.
        """
        principal = await self.authenticate(request)
        if not self._roles.is_admin(principal):
            raise Forbidden("This needs a role that may administer; ask an administrator for it.")
        return principal

    def visible(self, principal: Principal) -> list[NamedModel]:
        """The models that a principal may know of."""
        return [model for model in self._models if self._may_use(principal, model, "models")]

    def find(self, principal: Principal, name: str) -> NamedModel:
        """A model of the list, by its name.

        Raises:
            ModelNotFound: There is none, or none that the principal may know of.
        """
        return self._models.find(name, lambda model: self._may_use(principal, model, "models"))

    def model_for(self, principal: Principal, name: str, task: Task) -> NamedModel:
        """The model that a request asks for.

        Raises:
            ModelNotFound: There is none, or the principal may not use it and may not know.
            Forbidden: The principal may not use it.
            WrongModelKind: It does not do the task.
        """
        hide = self._config.auth.hide_forbidden_models
        model = self._models.find_for(
            name, task, lambda model: not hide or self._may_use(principal, model, task.value)
        )
        if not self._may_use(principal, model, task.value):
            raise Forbidden(f"Your roles do not grant the model {name!r}.", param="model")
        return model

    def _may_use(self, principal: Principal, model: NamedModel, task: str) -> bool:
        return self._roles.may_use(principal, model.config.id, model.name, task)

    async def reserve(
        self, principal: Principal, model: NamedModel, asked: schema.AnyRequest, size: PromptSize
    ) -> Admitted:
        """Take from the caller's limits what the request may use.

        Raises:
            RateLimited: A limit is used up for now.
            RequestTooLarge: The request alone is more than a limit allows.
            RegistryUnavailable: Limits cannot be checked now.
        """
        caller = Caller(principal.subject, principal.tenant, principal.key_id or "", principal.roles)
        context = model.config.max_model_len
        prompt = self._prompts.tokens(model.config.id, size, context)
        most = schema.most_output_tokens(asked, context or _LONGEST_ANSWER_TOKENS)
        try:
            reservation = await self._limiter.reserve(caller, model.config.id, prompt, most)
        except LimitRefusal as error:
            raise _refused(error) from error
        return Admitted(reservation, self._prompts, model.config.id, size)


class Admitted:
    """A request that goes ahead, with what it holds of its caller's limits.

    Args:
        reservation: What was taken.
        prompts: Learns from what the engine counts.
        model_id: Of the model.
        size: Of the prompt.
    """

    def __init__(
        self, reservation: Reservation, prompts: PromptBound, model_id: str, size: PromptSize
    ) -> None:
        self._reservation = reservation
        self._prompts = prompts
        self._model_id = model_id
        self._size = size

    def observe(self, seen: Observation) -> None:
        """Note what the client and the audit are told of it."""
        seen.ledger_away = self._reservation.ledger_away
        seen.headers |= rate_limit_headers(self._reservation, time.monotonic())

    def settle(self, usage: Usage) -> None:
        """Charge what the engine used, and give the rest back."""
        if not usage.prompt_tokens and not usage.completion_tokens:
            self._reservation.refund()
            return
        self._prompts.learn(self._model_id, self._size, usage.prompt_tokens)
        # A call cut short has no timing, and says nothing about how long answers are.
        complete = usage.timing is not None
        self._reservation.settle(usage.prompt_tokens, usage.completion_tokens, complete=complete)


def _refused(error: LimitRefusal) -> ApiError:
    headers = retry_headers(error)
    match error:
        case LimitExceeded():
            unit = "tokens" if error.bucket.limit.counts_tokens else "requests"
            headers |= {
                f"x-ratelimit-limit-{unit}": str(error.limit),
                f"x-ratelimit-remaining-{unit}": "0",
                f"x-ratelimit-reset-{unit}": duration(error.retry_after_s),
            }
            return RateLimited(str(error), headers=headers)
        case LedgerAway():
            return RegistryUnavailable(str(error), headers=headers)
        case _:
            return RequestTooLarge(str(error))

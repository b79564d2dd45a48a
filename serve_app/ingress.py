"""The ingress deployment: a Starlette application with one middleware, run by Ray Serve.

Imports neither torch nor vLLM; a test looks at the running process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from deployments.config import ModelConfig
from serve_app.address import client_address
from serve_app.admission import Admission
from serve_app.audit_gate import AuditGate
from serve_app.audit_recorder import AuditRecorder, AuditState
from serve_app.capacity import Capacity
from serve_app.config import AppConfig
from serve_app.errors import ApiError, InvalidRequest, MethodNotAllowed, RouteNotFound
from serve_app.exchange import Exchange
from serve_app.filtering import Classification, Classifier, ContentFilter, Judge, ServeClassifier
from serve_app.images import ImageInliner
from serve_app.membership import Membership
from serve_app.metrics import IngressMetrics
from serve_app.models import ModelTable
from serve_app.observation import Observe, Recorder
from serve_app.readiness import Readiness
from serve_app.registry import OverServe, RegistryClient
from serve_app.routes import admin, catalogue, docs, health, inference
from serve_app.screening import Screening
from serve_app.upstream import ServeUpstream, Upstream


@serve.ingress()
class Ingress:
    """One replica of the ingress: composes the application around Serve's handles.

    Args:
        config: The whole configuration.
        handles: A handle for each model id.
        registry: The registry's handle.
        classifier: The handle of the content filter's classifier, where there is one.
    """

    def __init__(
        self,
        config: AppConfig,
        handles: Mapping[str, DeploymentHandle[Any]],
        registry: DeploymentHandle[Any],
        classifier: DeploymentHandle[Any] | None = None,
    ) -> None:
        self._config = config
        self._handles = handles
        self._registry = registry
        self._classifier = classifier

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve runs; called once in each replica."""
        replica = serve.get_replica_context()
        names = {model_id: handle.deployment_name for model_id, handle in self._handles.items()}
        readiness = Readiness(names, replica.app_name)
        metrics = IngressMetrics()
        upstream = ServeUpstream(
            self._handles,
            host=ray.util.get_node_ip_address(),
            stream_buffer_bytes=self._config.ingress.stream_buffer_bytes,
            on_unknown=metrics.count_unknown_frames,
        )
        registry = RegistryClient(OverServe(self._registry))
        replica_id = replica.replica_id.unique_id
        return compose(
            self._config,
            upstream,
            metrics,
            readiness.models,
            registry,
            replica_id=replica_id,
            classifier=ServeClassifier(self._classifier) if self._classifier is not None else None,
            on_audit=metrics.tell_audit,
        )


def compose(  # noqa: PLR0913  (its collaborators)
    config: AppConfig,
    upstream: Upstream,
    metrics: Recorder,
    models_up: Callable[[], Awaitable[dict[str, bool]]],
    registry: RegistryClient,
    *,
    replica_id: str,
    classifier: Classifier | None = None,
    on_audit: Callable[[AuditState], None] | None = None,
) -> Starlette:
    """The application with its collaborators.

    Args:
        config: The whole configuration.
        upstream: Reaches the models.
        metrics: Counts requests.
        models_up: For each model needed at start, whether it is up.
        registry: Keys, limits and usage.
        replica_id: Unlike any other replica's; in each record of the audit.
        classifier: Judges texts, where the configuration has one.
        on_audit: Told every second how the audit is doing.

    Raises:
        SecretError: The signing secret is missing or unfit.
        PublicKeyError: So is a key file of another issuer.
        LexiconInvalid: A lexicon of the content filter cannot be used.
    """
    models = ModelTable({model.id: model for model in config.models}, config.aliases)
    images = ImageInliner(config.images)
    audit = AuditRecorder(config.audit, replica_id, on_audit)
    members = Membership(config, registry, journal=audit)
    admission = Admission(config, members.authenticator, models, members.limiter)
    judging = config.filtering.classifier
    judge = Judge(judging, classifier) if judging is not None and classifier is not None else None
    screening = Screening(
        ContentFilter(config.filtering), Classification(judge), config.filtering.reload_interval_s
    )
    exchange = Exchange(
        config.ingress, admission=admission, screening=screening, images=images, upstream=upstream
    )
    routes: list[BaseRoute] = [
        *inference.routes(exchange, Capacity(config.ingress.max_ongoing_requests)),
        *catalogue.routes(admission),
        *admin.routes(
            admission.administrator,
            registry,
            roles=tuple(config.auth.roles),
            rules=config.limits.rules,
            prices=config.prices,
            models=partial(_states, config.models, models_up),
            max_body_bytes=config.ingress.max_body_bytes,
        ),
        *health.routes(models_up, members.is_known, lambda: audit.problem),
        *docs.routes(),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await audit.start()
        members.usage.resume(audit.unsettled)
        members.start()
        screening.start()
        yield
        # An engine may have yet to tell what a client that has gone had used.
        await audit.wait_for_records()
        upstream.close()
        await images.close()
        await screening.close()
        await members.close()
        await audit.close()

    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Observe, recorders=(audit, metrics, members.usage)),
            Middleware(
                AuditGate,
                audit=audit,
                address_of=partial(client_address, trusted=config.ingress.trusted_proxies),
                exempt=health.PATHS,
            ),
        ],
        exception_handlers={HTTPException: _translate},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def _states(
    models: Sequence[ModelConfig], models_up: Callable[[], Awaitable[dict[str, bool]]]
) -> list[dict[str, Any]]:
    """Each model and its state, for administrators."""
    up = await models_up()
    return [
        {
            "object": "model",
            "id": model.id,
            "kind": model.kind.value,
            "state": "running" if up[model.id] else "starting",
        }
        for model in models
    ]


def _translate(request: Request, error: Exception) -> Any:
    """Starlette's own exceptions as this API's; raised again, for the middleware to render."""
    assert isinstance(error, HTTPException)
    raise _as_api_error(request, error) from error


def _as_api_error(request: Request, error: HTTPException) -> ApiError:
    match error.status_code:
        case 404:
            return RouteNotFound("There is no such route; GET /docs lists the routes.")
        case 405:
            allowed = (error.headers or {}).get("Allow", "")
            return MethodNotAllowed(
                f"This route does not take {request.method}; it takes {allowed}.", headers={"allow": allowed}
            )
        case _:
            return InvalidRequest(error.detail)

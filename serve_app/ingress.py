"""The ingress deployment: a Starlette application with one middleware, run by Ray Serve.

Imports neither torch nor vLLM; a test looks at the running process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from deployments.naming import deployment_name
from serve_app.address import client_address
from serve_app.admission import Admission
from serve_app.audit_gate import AuditGate
from serve_app.audit_recorder import AuditRecorder, AuditState
from serve_app.capacity import Capacity
from serve_app.catalogue import Catalogue
from serve_app.cold_start import ColdStarts
from serve_app.config import AppConfig, CatalogueConfig
from serve_app.errors import ApiError, InvalidRequest, MethodNotAllowed, RouteNotFound
from serve_app.exchange import Exchange
from serve_app.filtering import Classification, Classifier, ContentFilter, Judge, ServeClassifier
from serve_app.fleet import Fleet, RayBoard, described
from serve_app.images import ImageInliner
from serve_app.membership import Membership
from serve_app.metrics import IngressMetrics
from serve_app.models import ModelTable
from serve_app.observation import Observe, Recorder
from serve_app.readiness import Readiness
from serve_app.registry import OverServe, RegistryClient
from serve_app.routes import admin, docs, health, inference, models
from serve_app.screening import Screening
from serve_app.tls import Expiry
from serve_app.upstream import ServeUpstream, Upstream
from serve_app.vitals import Vitals, VitalsWatch

if TYPE_CHECKING:
    from serve_app.tracing import TraceRecorder


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
        self._catalogue = Catalogue(config.catalogue)
        self._handles = dict(handles)
        self._registry = registry
        self._classifier = classifier

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Serve another catalogue from now on. Called by Serve at the start, and when the catalogue changes.

        Args:
            user_config: A ``CatalogueConfig`` as JSON has it.
        """
        config = CatalogueConfig.model_validate(user_config)
        names = {model.id: deployment_name(model.id) for model in config.models}
        application = serve.get_replica_context().app_name
        for model_id, name in names.items():
            if model_id not in self._handles:
                self._handles[model_id] = serve.get_deployment_handle(name, application)
        self._catalogue.follow(config)
        for model_id in self._handles.keys() - names.keys():
            del self._handles[model_id]

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve runs; called once in each replica."""
        replica = serve.get_replica_context()
        readiness = Readiness(self._catalogue.models, replica.app_name)
        metrics = IngressMetrics(self._catalogue.prices)
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
            catalogue=self._catalogue,
            fleet=Fleet(RayBoard(replica.app_name), lambda: self._catalogue.fleet),
            classifier=ServeClassifier(self._classifier) if self._classifier is not None else None,
            on_audit=metrics.tell_audit,
            on_vitals=metrics.tell_vitals,
            on_expiry=metrics.tell_certificate,
        )


def compose(  # noqa: PLR0913  (its collaborators)
    config: AppConfig,
    upstream: Upstream,
    metrics: Recorder,
    models_up: Callable[[], Awaitable[dict[str, bool]]],
    registry: RegistryClient,
    *,
    replica_id: str,
    catalogue: Catalogue,
    fleet: Fleet,
    classifier: Classifier | None = None,
    on_audit: Callable[[AuditState], None] | None = None,
    on_vitals: Callable[[Vitals], None] | None = None,
    on_expiry: Callable[[float], None] | None = None,
) -> Starlette:
    """The application with its collaborators.

    Args:
        config: The whole configuration.
        upstream: Reaches the models.
        metrics: Counts requests.
        models_up: For each model, whether it is up.
        registry: Keys, limits and usage.
        replica_id: Unlike any other replica's; in each record of the audit.
        catalogue: What is served; may change.
        fleet: Which models are loaded.
        classifier: Judges texts, where the configuration has one.
        on_audit: Told every second how the audit is doing.
        on_vitals: Told every two seconds of ledger, models and queues.
        on_expiry: Told when the certificate expires, seconds since 1970, where there is one.

    Raises:
        SecretError: The signing secret is missing or unfit.
        PublicKeyError: So is a key file of another issuer.
        LexiconInvalid: A lexicon of the content filter cannot be used.
    """
    images = ImageInliner(config.images)
    audit = AuditRecorder(config.audit, replica_id, on_audit)
    members = Membership(config, registry, journal=audit)
    admission = Admission(config, members.authenticator, catalogue.models, members.limiter)
    judging = config.filtering.classifier
    judge = Judge(judging, classifier) if judging is not None and classifier is not None else None
    screening = Screening(
        ContentFilter(config.filtering), Classification(judge), config.filtering.reload_interval_s
    )
    cold_starts = ColdStarts(config.ingress, fleet)
    exchange = Exchange(
        config.ingress,
        admission=admission,
        screening=screening,
        images=images,
        upstream=upstream,
        cold_starts=cold_starts,
    )
    states = partial(_states, catalogue.models, models_up, fleet)
    vitals = VitalsWatch(partial(_vitals, catalogue.models, fleet, cold_starts, members), on_vitals)
    routes: list[BaseRoute] = [
        *inference.routes(exchange, Capacity(config.ingress.max_ongoing_requests)),
        *models.routes(admission, fleet),
        *admin.routes(
            admission.administrator,
            registry,
            roles=tuple(config.auth.roles),
            rules=config.limits.rules,
            prices=catalogue.prices,
            models=states,
            decided_by=fleet,
            max_body_bytes=config.ingress.max_body_bytes,
        ),
        *health.routes(
            partial(_needed, catalogue.models, models_up), members.is_known, lambda: audit.problem
        ),
        *docs.routes(),
    ]

    traces = _traces(config, replica_id)
    certificate_file = config.tls.certificate_file if config.tls is not None else None
    expiry = Expiry(certificate_file, on_expiry) if certificate_file is not None and on_expiry else None

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await audit.start()
        members.usage.resume(audit.unsettled)
        members.start()
        screening.start()
        fleet.start()
        vitals.start()
        if expiry is not None:
            expiry.start()
        yield
        if expiry is not None:
            await expiry.close()
        # An engine may have yet to tell what a client that has gone had used.
        await audit.wait_for_records()
        await vitals.close()
        await fleet.close()
        upstream.close()
        await images.close()
        await screening.close()
        await members.close()
        await audit.close()
        for trace in traces:
            await asyncio.to_thread(trace.close)

    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Observe, recorders=(audit, metrics, members.usage, *traces)),
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


def _traces(config: AppConfig, replica_id: str) -> tuple[TraceRecorder, ...]:
    """Who makes traces, where the configuration wants any; otherwise OpenTelemetry is not even loaded."""
    if config.tracing is None:
        return ()
    from serve_app.tracing import TraceRecorder

    return (TraceRecorder(config.tracing, replica_id),)


def _vitals(models: ModelTable, fleet: Fleet, cold_starts: ColdStarts, members: Membership) -> Vitals:
    known = {model.id: fleet.status(model.id) for model in models.configs()}
    waiting = cold_starts.waiting
    return Vitals(
        ledger_away=members.ledger_away,
        states={model_id: status.state for model_id, status in known.items() if status is not None},
        waiting={model_id: waiting.get(model_id, 0) for model_id in known},
        gpus=fleet.gpus,
    )


async def _needed(models: ModelTable, models_up: Callable[[], Awaitable[dict[str, bool]]]) -> dict[str, bool]:
    """The models that are to run always, and whether they do."""
    always = {model.id for model in models.configs() if model.autoscale.min_replicas > 0}
    return {model_id: up for model_id, up in (await models_up()).items() if model_id in always}


async def _states(
    models: ModelTable, models_up: Callable[[], Awaitable[dict[str, bool]]], fleet: Fleet
) -> list[dict[str, Any]]:
    """Each model and its state, for administrators."""
    up = await models_up()
    return [
        {
            "object": "model",
            "id": model.id,
            "kind": model.kind.value,
            **described(fleet.status(model.id), up=up.get(model.id, False)),
        }
        for model in models.configs()
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

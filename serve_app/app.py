"""The composition root: from the configuration to the Serve application. It alone calls ``.bind()``."""

# No `from __future__ import annotations` here: Serve reads the annotation of `args` to validate them.
from ray import serve
from ray.serve import Application

from deployments.build import build_model
from deployments.classifier import build_classifier
from deployments.version import pin
from serve_app.auth import secret
from serve_app.config import AppConfig, CatalogueConfig
from serve_app.ingress import Ingress
from serve_app.registry import Registry

_HEADROOM = 2
"""Serve lets what is over its bound wait without an end, health checks too; ours answers 503 before that."""

_REGISTRY_ONGOING = 1024


def build_app(args: AppConfig) -> Application:
    """The application of ``serve_config.yaml``: one ingress, one deployment per model.

    Args:
        args: The configuration, validated by Serve against this annotation.

    Raises:
        SecretError: The signing secret is missing; better to say so now than in a replica's log.
    """
    secret.read(args.auth.secret_file)
    ingress = serve.deployment(
        Ingress,
        name="Ingress",
        num_replicas=args.ingress.num_replicas,
        max_ongoing_requests=_HEADROOM * args.ingress.max_ongoing_requests,
        # Serve hands a changed one to the replicas that run, and restarts none of them.
        user_config=args.catalogue.model_dump(mode="json"),
    )
    # One replica: it is the only writer of the store, and the ledger of all ingress replicas.
    registry = serve.deployment(
        Registry, name="Registry", num_replicas=1, max_ongoing_requests=_REGISTRY_ONGOING
    ).bind(args.store, args.limits)
    judging = args.filtering.classifier
    classifier = (
        pin(build_classifier(judging.model, judging.labels), judging) if judging is not None else None
    )
    models = {model.id: pin(build_model(model, args.weights), model, args.weights) for model in args.models}
    return pin(
        ingress.bind(args, models, pin(registry, args.store, args.limits), classifier),
        args.model_dump_json(exclude={*CatalogueConfig.model_fields, "weights"}),
    )

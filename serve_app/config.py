"""The whole configuration of the application: one frozen tree, the ``args`` of ``serve_config.yaml``."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Self

from pydantic import Field, IPvAnyNetwork, PositiveFloat, PositiveInt, model_validator

from deployments import catalog
from deployments.architecture import Architecture
from deployments.checkpoint import CheckpointError
from deployments.config import AcceleratorConfig, AcceleratorName, FrozenConfig, ModelConfig, ModelId
from deployments.fleet import FleetConfig, FleetModel, FleetRules
from deployments.weights.config import WeightsConfig
from serve_app.audit.config import AuditConfig
from serve_app.auth.config import AuthConfig
from serve_app.filtering import FilteringConfig
from serve_app.images import ImagePolicy
from serve_app.limits.config import LimitsConfig
from serve_app.store.config import StoreConfig
from serve_app.tls import TlsConfig
from serve_app.tracing_config import TracingConfig
from serve_app.usage.prices import PriceConfig


class IngressConfig(FrozenConfig):
    """The deployment that speaks HTTP."""

    num_replicas: PositiveInt = Field(1, description="Ingress replicas.")
    max_ongoing_requests: PositiveInt = Field(
        512, description="Requests that one ingress replica has in hand at most."
    )
    max_body_bytes: PositiveInt = Field(
        32 * 1024 * 1024, description="Largest request body in bytes; images arrive inside it as base64."
    )
    max_choices: PositiveInt = Field(16, description="Largest `n`: answers to one prompt.")
    max_inputs: PositiveInt = Field(
        2048, description="Texts in one completions, embeddings, rerank or score request."
    )
    stream_buffer_bytes: PositiveInt = Field(
        1024 * 1024, description="What may wait for a client that reads its stream slowly, bytes per stream."
    )
    request_timeout_s: PositiveFloat = Field(
        600, description="A request that takes longer is ended with 504, seconds."
    )
    first_token_timeout_s: PositiveFloat = Field(
        300, description="A stream whose first token takes longer is ended with 504, seconds."
    )
    idle_timeout_s: PositiveFloat = Field(
        60, description="A stream that pauses longer between two tokens is ended, seconds."
    )
    cold_start_timeout_s: PositiveFloat = Field(
        600, description="A request to a model that is not loaded waits for it so long, seconds; then 503."
    )
    max_waiting_for_load: PositiveInt = Field(
        128, description="Requests that wait for one model to load, per ingress replica; more get 503."
    )
    loading_comment_interval_s: PositiveFloat = Field(
        5, description="A stream that waits for its model to load gets a comment so often, seconds."
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (IPv4Network("127.0.0.1/32"), IPv6Network("::1/128")),
        description="Networks of proxies whose `x-forwarded-for` is believed.",
    )


class CatalogueConfig(FrozenConfig):
    """What may change while the application runs, and restarts nothing but the models that it names."""

    models: tuple[ModelConfig, ...] = Field(..., min_length=1, description="The models to serve.")
    aliases: dict[ModelId, ModelId] = Field(
        default_factory=dict, description="Further names of models, such as the public cloud's."
    )
    prices: dict[ModelId, PriceConfig] = Field(
        default_factory=dict, description="What tokens cost, by model id; for the statement of usage."
    )
    fleet: FleetRules = Field(
        default_factory=FleetRules, description="When models are loaded, scaled and unloaded."
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        ids = [model.id for model in self.models]
        for model_id in ids:
            if ids.count(model_id) > 1:
                raise ValueError(f"models: two models have the id {model_id!r}; ids must differ")
        for model_id in self.prices:
            if model_id not in ids:
                raise ValueError(f"prices.{model_id}: there is no such model; one of {', '.join(ids)}")
        for alias, target in self.aliases.items():
            if alias in ids:
                raise ValueError(f"aliases.{alias}: a model has that id already")
            if target not in ids:
                raise ValueError(f"aliases.{alias}: there is no model {target!r}; one of {', '.join(ids)}")
        return self

    @property
    def fleet_config(self) -> FleetConfig:
        """The fleet policy's view of it."""
        models = tuple(FleetModel.from_config(model, _architecture(model)) for model in self.models)
        # In Ray 2.60 a sleeping replica keeps its placement group, and with it its GPUs.
        return FleetConfig(**self.fleet.model_dump(), models=models, sleep_frees_gpus=False)


def _architecture(model: ModelConfig) -> Architecture | None:
    """Its shape where this machine or the catalogue knows it."""
    try:
        return None if model.simulation is not None else catalog.architecture(model.source)
    except CheckpointError:
        return None


class AppConfig(CatalogueConfig):
    """The application: its models, and how they are reached."""

    accelerators: dict[AcceleratorName, AcceleratorConfig] = Field(
        default_factory=dict, description="GPU machines of the cluster, by accelerator type."
    )
    weights: WeightsConfig = Field(
        default_factory=WeightsConfig, description="The cache of models that lie elsewhere."
    )
    auth: AuthConfig = Field(..., description="Bearer tokens.")
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="How much who may use.")
    store: StoreConfig = Field(
        default_factory=StoreConfig, description="Where keys, usage and limits are kept."
    )
    filtering: FilteringConfig = Field(
        default_factory=FilteringConfig, description="What is looked for in prompts and answers."
    )
    audit: AuditConfig = Field(default_factory=AuditConfig, description="The record of every request.")
    images: ImagePolicy = Field(default_factory=ImagePolicy, description="Images in chat messages.")
    ingress: IngressConfig = Field(default_factory=IngressConfig, description="The HTTP side.")
    tracing: TracingConfig | None = Field(
        None, description="Where a trace of each request is sent; default: nowhere."
    )
    tls: TlsConfig | None = Field(None, description="HTTPS in front of the ingress; default: plain HTTP.")
    allow_simulated_models: bool = Field(
        False, description="Models may have a simulated engine, whose answers mean nothing; for tests only."
    )

    @model_validator(mode="after")
    def _requests_in_hand_find_room_in_the_audit(self) -> Self:
        if self.audit.queue_slack_records < self.ingress.max_ongoing_requests:
            raise ValueError("audit.queue_slack_records must be at least ingress.max_ongoing_requests")
        return self

    @model_validator(mode="after")
    def _simulation_is_meant(self) -> Self:
        simulated = [model.id for model in self.models if model.simulation is not None]
        if simulated and not self.allow_simulated_models:
            raise ValueError(
                f"models: {', '.join(simulated)} would be simulated, and the answers mean nothing; "
                "for a load test set allow_simulated_models: true, otherwise remove simulation"
            )
        return self

    @property
    def catalogue(self) -> CatalogueConfig:
        """The part that may change while the application runs."""
        return CatalogueConfig(**{name: getattr(self, name) for name in CatalogueConfig.model_fields})

    @property
    def simulated_gpus(self) -> dict[str, int]:
        """GPUs of one machine, by type, where all engines are simulated: one machine plays the cluster."""
        wanted = {model.accelerator for model in self.models if model.simulation is not None}
        if any(model.simulation is None for model in self.models) or len(wanted) != 1:
            return {}
        return {kind: one.gpus_per_node for kind, one in self.accelerators.items() if kind in wanted}

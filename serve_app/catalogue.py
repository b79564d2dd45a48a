"""What an ingress replica serves: it follows the configuration while requests run."""

from __future__ import annotations

from deployments.fleet import FleetConfig
from serve_app.config import CatalogueConfig
from serve_app.models import ModelTable
from serve_app.usage.prices import PriceConfig


class Catalogue:
    """The models, what they cost, and by which rules they are loaded.

    Args:
        config: As it is at first.

    Attributes:
        models: By their names.
        prices: By model id.
        fleet: As the fleet policy is told.
    """

    models: ModelTable
    prices: dict[str, PriceConfig]
    fleet: FleetConfig

    def __init__(self, config: CatalogueConfig) -> None:
        self.models = ModelTable(config.models, config.aliases)
        self.prices = dict(config.prices)
        self.fleet = config.fleet_config

    def follow(self, config: CatalogueConfig) -> None:
        """Serve what the configuration says now. Whoever holds a part of this sees the change."""
        self.models.replace(config.models, config.aliases)
        self.prices.clear()
        self.prices.update(config.prices)
        self.fleet = config.fleet_config

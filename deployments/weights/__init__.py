"""The model store: weights from S3, MinIO or a hub, in a verified cache on this machine."""

from deployments.weights.cache import Lease
from deployments.weights.config import S3Config, WeightsConfig
from deployments.weights.errors import WeightsError
from deployments.weights.location import Location, Scheme
from deployments.weights.progress import ModelState, Phase
from deployments.weights.store import ModelStore

__all__ = [
    "Lease",
    "Location",
    "ModelState",
    "ModelStore",
    "Phase",
    "S3Config",
    "Scheme",
    "WeightsConfig",
    "WeightsError",
]

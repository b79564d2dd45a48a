"""The registry: the one place in the cluster that writes keys, revocations, usage and limits."""

from serve_app.registry.client import OverServe, RegistryClient
from serve_app.registry.registry import Registry
from serve_app.registry.subscriber import Subscriber

__all__ = ["OverServe", "Registry", "RegistryClient", "Subscriber"]

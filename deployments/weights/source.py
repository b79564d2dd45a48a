"""Where a model's files come from."""

from __future__ import annotations

from typing import Protocol

from deployments.weights.config import WeightsConfig
from deployments.weights.errors import AddressInvalid
from deployments.weights.inventory import Inventory
from deployments.weights.location import Location, Scheme
from deployments.weights.partial import Partial
from deployments.weights.progress import Progress


class Source(Protocol):
    """One model at its source."""

    def inventory(self) -> Inventory:
        """All its files as they are now.

        Raises:
            WeightsError: The source cannot be asked, or what it says cannot be a model.
        """
        ...

    def fetch(self, partial: Partial, progress: Progress) -> None:
        """Complete a download: every file there, verified and noted.

        Raises:
            WeightsError: It is not complete; what is done stays noted.
        """
        ...


def open_source(location: Location, config: WeightsConfig) -> Source:
    """The source that an address names. Its library is loaded here.

    Raises:
        LibraryMissing: That library is not installed.
        AddressInvalid: It is a folder, which needs no source.
    """
    match location.scheme:
        case Scheme.S3:
            from deployments.weights.s3 import S3Source

            return S3Source(location, config)
        case Scheme.HUGGING_FACE:
            from deployments.weights.huggingface import HuggingFaceSource

            return HuggingFaceSource(location, config)
        case Scheme.MODELSCOPE:
            from deployments.weights.modelscope import ModelScopeSource

            return ModelScopeSource(location, config)
        case Scheme.FOLDER:
            raise AddressInvalid(f"{location} is a folder; it is used where it lies")

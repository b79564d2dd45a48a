"""Where traces go: the part ``tracing`` of the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deployments.config import FrozenConfig


class TracingConfig(FrozenConfig):
    """One trace for each request, to a collector of OpenTelemetry's."""

    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] = Field(
        ...,
        description="URL for traces of an OTLP collector over HTTP, such as `http://127.0.0.1:4318/v1/traces`.",
    )
    sampling_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0,
        description="Share of requests that are traced; a caller's `traceparent` decides for its own.",
    )

"""The configuration of the text classifier: where it comes from, and how it runs.

Light to import; what its labels mean is the content filter's business.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, StringConstraints, model_validator

from deployments.config import AcceleratorName, AutoscaleConfig, FrozenConfig


class ClassifierConfig(FrozenConfig):
    """One sequence classification model of ``transformers``, as a deployment of its own."""

    source: Annotated[str, StringConstraints(min_length=1)] = Field(
        ..., description="A checkpoint folder, or the id of a model on the hub."
    )
    accelerator: AcceleratorName | None = Field(
        None, description="GPU type from the accelerators table; none: it runs on the CPU."
    )
    gpu_share: PositiveFloat = Field(
        1, le=1, description="Share of one GPU that a replica takes; without an accelerator it takes none."
    )
    cpu_threads: PositiveInt = Field(1, description="Threads, and CPUs, of a replica without a GPU.")
    max_batch_size: PositiveInt = Field(
        32, le=1024, description="Texts that the model reads at once, of whatever calls."
    )
    batch_wait_ms: NonNegativeFloat = Field(
        5, le=1000, description="How long a text waits for others to fill its batch, milliseconds."
    )
    max_length_tokens: PositiveInt = Field(
        512,
        ge=16,
        description="Tokens that the model reads of a text at once; longer texts are read in parts.",
    )
    autoscale: AutoscaleConfig = Field(
        default_factory=AutoscaleConfig, description="Replicas and queues, in calls of the ingress."
    )

    @model_validator(mode="after")
    def _calls_fill_a_batch(self) -> Self:
        if self.autoscale.max_ongoing_requests < self.max_batch_size:
            raise ValueError(
                f"autoscale.max_ongoing_requests ({self.autoscale.max_ongoing_requests}) must be at least "
                f"max_batch_size ({self.max_batch_size}): most calls have one text, and no batch would fill"
            )
        return self

    @model_validator(mode="after")
    def _is_never_cold(self) -> Self:
        if self.autoscale.min_replicas == 0:
            raise ValueError("autoscale.min_replicas must be at least 1: nobody would wake it")
        return self

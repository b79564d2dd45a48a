"""KubeRay's own schema of a RayService, strict: what its API server would drop in silence is an error here.

The CRDs are data of ray-project/kuberay and lie beside the repository, not in it (../shared/schemas/kuberay).
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "schemas" / "kuberay"


def is_there() -> bool:
    return (FOLDER / "ray.io_rayservices.yaml.gz").is_file()


def problems(item: dict[str, Any]) -> list[str]:
    """What KubeRay's API server would refuse, or drop, of a RayService."""
    found = _validator().iter_errors(_without_nulls(item))
    return [f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}" for error in found]


@cache
def _validator() -> Draft202012Validator:
    with gzip.open(FOLDER / "ray.io_rayservices.yaml.gz", "rt", encoding="utf-8") as file:
        crd = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  (both are safe)
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == "v1"]
    strict = _strict(schema)
    # The API server itself validates metadata; a CRD says no more than that it is an object.
    strict["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return Draft202012Validator(strict)


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A structural schema of Kubernetes as JSON schema, closed where Kubernetes prunes."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {
        key: value
        for key, value in schema.items()
        if not key.startswith("x-") and key not in ("format", "nullable")
    }
    if "properties" in schema:
        properties: dict[str, Any] = schema["properties"]
        result["properties"] = {name: _strict(part) for name, part in properties.items()}
        # The API server fills in a default before it asks whether the key is there.
        result["required"] = [
            name for name in schema.get("required", []) if "default" not in properties.get(name, {})
        ]
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            result[key] = _strict(schema[key])
    if schema.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    return result


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value

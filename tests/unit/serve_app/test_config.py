"""The configuration tree refuses what is wrong, and says where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from deployments.config import FrozenConfig
from serve_app.config import AppConfig


def valid() -> dict[str, Any]:
    return {
        "models": [{"id": "a", "source": "models/a", "kind": "text"}],
        "aliases": {"qwen-max": "a"},
        "auth": {"secret_file": "jwt.key"},
    }


def refusal(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    args = valid()
    change(args)
    with pytest.raises(ValidationError) as refused:
        AppConfig.model_validate(args)
    first: Any = refused.value.errors()[0]
    return {"loc": first["loc"], "msg": first["msg"]}


def test_smallest_configuration_is_taken() -> None:
    config = AppConfig.model_validate(valid())
    assert config.models[0].autoscale.min_replicas == 1
    assert config.images.allowed_hosts == ()


@pytest.mark.parametrize(
    ("change", "location", "message"),
    [
        (lambda a: a.update(modles=[]), (), "models"),
        (lambda a: a["models"][0].update(tensor_paralel_size=2), ("models", 0), "tensor_parallel_size"),
        (lambda a: a["auth"].update(secret="x"), ("auth",), "secret_file"),
        (lambda a: a["models"].append(a["models"][0]), (), "ids must differ"),
        (lambda a: a["aliases"].update(x="b"), (), "there is no model 'b'"),
        (lambda a: a["aliases"].update(a="a"), (), "has that id already"),
        (lambda a: a["models"][0].update(kind="chat"), ("models", 0, "kind"), "text"),
        (lambda a: a["models"][0].update(id="a b"), ("models", 0, "id"), "pattern"),
        (lambda a: a["models"][0].update(max_model_len=0), ("models", 0, "max_model_len"), "greater than 0"),
        (
            lambda a: a["models"][0].update(autoscale={"min_replicas": 3, "max_replicas": 2}),
            ("models", 0, "autoscale"),
            "at least min_replicas",
        ),
        (
            lambda a: a["models"][0].update(engine_kwargs={"dtype": "half"}),
            ("models", 0),
            "set dtype of the model instead",
        ),
        (lambda a: a.update(models=[]), ("models",), "at least 1"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    change: Callable[[dict[str, Any]], object], location: tuple[str | int, ...], message: str
) -> None:
    refused = refusal(change)
    assert refused["loc"] == location
    assert message in refused["msg"]


def test_configuration_is_immutable() -> None:
    config = AppConfig.model_validate(valid())
    with pytest.raises(ValidationError, match="frozen"):
        config.models = ()  # type: ignore[misc]


def parts(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for field in model.model_fields.values():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
                found |= parts(kind)
    return found


def test_every_part_is_strict_and_every_field_described() -> None:
    for part in parts(AppConfig):
        assert issubclass(part, FrozenConfig), part
        for name, field in part.model_fields.items():
            assert field.description, f"{part.__name__}.{name}"

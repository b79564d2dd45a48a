"""A simulated model starts only where that is meant, and never looks like a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from deployments.config import ModelConfig
from serve_app.config import AppConfig
from serve_app.serve_file import load

ROOT = Path(__file__).resolve().parents[3]


def args(**fields: Any) -> dict[str, Any]:
    models = [
        {"id": "real", "source": "models/real", "kind": "text"},
        {"id": "sim", "source": "simulated", "kind": "text", "simulation": {}},
    ]
    return {"models": models, "auth": {"secret_file": "jwt.key"}, **fields}


def test_simulated_model_is_refused_unless_it_is_meant() -> None:
    with pytest.raises(ValidationError, match=r"sim would be simulated.*allow_simulated_models: true"):
        AppConfig.model_validate(args())
    allowed = AppConfig.model_validate(args(allow_simulated_models=True))
    assert allowed.models[1].simulation is not None


def test_real_models_need_no_permission() -> None:
    assert AppConfig.model_validate(args(models=args()["models"][:1])).allow_simulated_models is False


def test_shipped_load_test_configuration_is_sound() -> None:
    loaded = load(ROOT / "configs/simulated.yaml")
    assert loaded.app.allow_simulated_models
    [model] = loaded.app.models
    assert model.simulation is not None
    assert model.autoscale.max_ongoing_requests >= model.simulation.max_num_seqs
    assert loaded.app.ingress.max_ongoing_requests >= model.simulation.max_num_seqs
    assert [problem.path.rpartition(".")[2] for problem in loaded.warnings] == ["simulation"]


@pytest.fixture
def config(config: AppConfig) -> AppConfig:
    """The usual one, with the models of ``args`` in place of its own."""
    models = tuple(ModelConfig.model_validate(model) for model in args()["models"])
    changes = {"models": models, "aliases": {"alias": "sim"}, "allow_simulated_models": True}
    return config.model_copy(update=changes)


async def test_only_the_card_of_a_simulated_model_says_so(client: httpx.AsyncClient) -> None:
    cards = {card["id"]: card for card in (await client.get("/v1/models")).json()["data"]}
    one = (await client.get("/v1/models/sim")).json()
    assert {name: card.get("simulated") for name, card in cards.items()} == {
        "real": None,
        "sim": True,
        "alias": True,
    }
    assert one["simulated"] is True

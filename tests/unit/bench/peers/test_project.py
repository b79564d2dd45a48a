"""The project is measured with its own configuration, and no secret of the checkout."""

from __future__ import annotations

from pathlib import Path

from bench import lineup
from bench.peers.project import Project
from serve_app.serve_file import load


def _written(project: Project, folder: Path) -> Path:
    path = project.write_config(folder)
    load(path)  # valid
    return path


def test_only_the_measured_model_is_served(tmp_path: Path) -> None:
    app = load(_written(Project(lineup.REAL, "demo-chat"), tmp_path)).app

    assert [model.id for model in app.models] == ["demo-chat"]
    assert app.models[0] == lineup.first_model(lineup.REAL)
    assert app.auth.secret_file == tmp_path / "jwt.key"


def test_a_simulated_engine_can_be_paced(tmp_path: Path) -> None:
    project = Project(lineup.SIMULATED, "simulated-chat", simulation={"step_s": 0.5})

    simulation = load(_written(project, tmp_path)).app.models[0].simulation

    assert simulation is not None
    assert simulation.step_s == 0.5

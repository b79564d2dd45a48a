"""``serve_config.yaml``: Ray Serve's schema around our own arguments, checked before anything starts."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from deployments import checks
from deployments.classifier_checks import classifier_problems
from deployments.problem import Problem
from serve_app.config import AppConfig
from serve_app.filtering import ContentFilter, LexiconInvalid

IMPORT_PATH = "serve_app.app:build_app"
POLICY = "deployments.autoscaler:FleetAutoscaler"


class ServeFileError(Exception):
    """The file cannot be used.

    Attributes:
        problems: Each with the path of the key at fault and what to do.
    """

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{file}: {problem.path}: {problem.message}" for problem in problems))


@dataclass(frozen=True, slots=True)
class ServeFile:
    """A file that holds together.

    Attributes:
        path: Where it is.
        content: As YAML has it, in Ray Serve's schema.
        app: Our part of it, validated.
        warnings: What may be meant, but is worth a look.
    """

    path: Path
    content: dict[str, Any]
    app: AppConfig
    warnings: tuple[Problem, ...]


def load(path: Path) -> ServeFile:
    """Read and check a file.

    Raises:
        ServeFileError: With everything that was found wrong.
    """
    content = _parse(path)
    index, application = _our_application(path, content)
    problems = [*_ray_problems(content)]
    app: AppConfig | None = None
    prefix = f"applications[{index}].args"
    try:
        app = AppConfig.model_validate(application.get("args") or {})
    except ValidationError as error:
        problems += _of_pydantic(error, prefix)
    if app is not None:
        problems += _model_problems(app, prefix)
        problems += _fleet_problems(app, application, f"applications[{index}]")
        problems += _filtering_problems(app, prefix)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors or app is None:
        raise ServeFileError(path, errors)
    return ServeFile(path, content, app, tuple(p for p in problems if p.severity == "warning"))


def keep_files_in(folder: Path, args: dict[str, Any]) -> None:
    """Let an application keep its secrets, its store and its audit apart from any other's.

    Args:
        folder: Where from now on.
        args: Of the application, as YAML has them; changed.
    """
    args["auth"] = {**args.get("auth", {}), "secret_file": str(folder / "jwt.key")}
    args["store"] = {"url": f"sqlite:///{folder}/store.db"}
    args["audit"] = {
        **args.get("audit", {}),
        "directory": str(folder / "audit"),
        "signing_key_file": str(folder / "audit.key"),
    }


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ServeFileError(path, [Problem("file", "there is no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ServeFileError(path, [Problem("file", f"cannot be read: {error}")]) from error
    except yaml.YAMLError as error:
        raise ServeFileError(
            path, [Problem("file", f"is not YAML: {' '.join(str(error).split())}")]
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("applications"), list):
        raise ServeFileError(
            path,
            [Problem("applications", "missing; the file follows Ray Serve's schema, see serve_config.yaml")],
        )
    return content


def _our_application(path: Path, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    for index, application in enumerate(content["applications"]):
        if isinstance(application, dict) and application.get("import_path") == IMPORT_PATH:
            return index, application
    raise ServeFileError(path, [Problem("applications", f"none of them has the import_path {IMPORT_PATH}")])


def _ray_problems(content: dict[str, Any]) -> Iterator[Problem]:
    """What Ray's own schema refuses, and the unknown keys that it would ignore in silence."""
    from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

    yield from _unknown_keys(content, ServeDeploySchema, "")
    for index, application in enumerate(content["applications"]):
        if isinstance(application, dict):
            yield from _unknown_keys(application, ServeApplicationSchema, f"applications[{index}].")
    try:
        ServeDeploySchema.model_validate(content)
    except ValidationError as error:
        yield from _of_pydantic(error, "")


def _unknown_keys(given: dict[str, Any], schema: type[BaseModel], prefix: str) -> Iterator[Problem]:
    for key in given:
        if key not in schema.model_fields:
            near = difflib.get_close_matches(str(key), schema.model_fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(schema.model_fields)}"
            yield Problem(f"{prefix}{key}", f"unknown key; {hint}")


def _model_problems(app: AppConfig, prefix: str) -> Iterator[Problem]:
    for index, model in enumerate(app.models):
        for problem in checks.problems(model, app.accelerators):
            yield Problem(f"{prefix}.models[{index}].{problem.path}", problem.message, problem.severity)
    for problem in checks.alias_problems(app.aliases, app.models):
        yield Problem(f"{prefix}.{problem.path}", problem.message, problem.severity)


def _fleet_problems(app: AppConfig, application: dict[str, Any], prefix: str) -> Iterator[Problem]:
    """Models that come and go need the fleet policy, which only Ray's part of the file can name."""
    policy = application.get("autoscaling_policy") or {}
    if isinstance(policy, dict) and policy.get("policy_function") == POLICY:
        return
    moving = [model.id for model in app.models if model.autoscale.min_replicas < model.autoscale.max_replicas]
    if moving:
        message = (
            f"set policy_function: {POLICY}; without it Serve scales {', '.join(moving)} by itself, with no "
            "budget of GPUs, and clients are told nothing of models that are not loaded"
        )
        yield Problem(f"{prefix}.autoscaling_policy", message, "warning")


def _filtering_problems(app: AppConfig, prefix: str) -> Iterator[Problem]:
    judging = app.filtering.classifier
    if judging is not None:
        for problem in classifier_problems(judging.model, judging.labels, app.accelerators):
            path = f"{prefix}.filtering.classifier.model.{problem.path}"
            yield Problem(path, problem.message, problem.severity)
    try:
        ContentFilter(app.filtering)
    except LexiconInvalid as error:
        for line in str(error).splitlines():
            yield Problem(f"{prefix}.filtering.lexicons", line)


def _of_pydantic(error: ValidationError, prefix: str) -> Iterator[Problem]:
    for detail in error.errors(include_url=False, include_input=False):
        location = list(detail["loc"])
        if detail["type"] == "unknown_key":
            location.append(detail["ctx"]["key"])
        path = prefix
        for part in location:
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
        yield Problem(path or "file", detail["msg"].removeprefix("Value error, "))

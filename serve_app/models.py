"""The models as clients name them: ids and aliases, and which task each can do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from deployments.call import Task
from deployments.config import ModelConfig, ModelKind
from serve_app.errors import ModelNotFound, WrongModelKind

_KINDS: Mapping[Task, frozenset[ModelKind]] = {
    Task.CHAT: frozenset({ModelKind.TEXT, ModelKind.VISION_LANGUAGE}),
    Task.COMPLETION: frozenset({ModelKind.TEXT, ModelKind.VISION_LANGUAGE}),
    Task.EMBEDDING: frozenset({ModelKind.EMBEDDING}),
    Task.RERANK: frozenset({ModelKind.RERANKER}),
    Task.SCORE: frozenset({ModelKind.RERANKER}),
}

_ROUTES: Mapping[ModelKind, str] = {
    ModelKind.TEXT: "/v1/chat/completions",
    ModelKind.VISION_LANGUAGE: "/v1/chat/completions",
    ModelKind.EMBEDDING: "/v1/embeddings",
    ModelKind.RERANKER: "/v1/rerank",
}


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model under one of its names."""

    name: str
    config: ModelConfig


Known: TypeAlias = Callable[[NamedModel], bool]
"""Whether a caller may know of a model."""


class ModelTable:
    """Every model under its id and its aliases. What there is may change while requests run.

    Args:
        models: All of them.
        aliases: Further names, each to an id.
    """

    def __init__(self, models: Iterable[ModelConfig], aliases: Mapping[str, str]) -> None:
        self.replace(models, aliases)

    def replace(self, models: Iterable[ModelConfig], aliases: Mapping[str, str]) -> None:
        """Other models from now on; requests that have found theirs keep it."""
        by_id = {model.id: model for model in models}
        self._models = by_id
        self._by_name = {name: NamedModel(name, config) for name, config in by_id.items()} | {
            alias: NamedModel(alias, by_id[target]) for alias, target in aliases.items()
        }

    def __iter__(self) -> Iterator[NamedModel]:
        return iter(self._by_name.values())

    def configs(self) -> tuple[ModelConfig, ...]:
        """All models, without aliases."""
        return tuple(self._models.values())

    def find(self, name: str, known: Known) -> NamedModel:
        """The model of that name.

        Args:
            name: An id or an alias.
            known: Whether the caller may know of a model.

        Raises:
            ModelNotFound: With the nearest name that the caller may know.
        """
        model = self._by_name.get(name)
        if model is None or not known(model):
            names = [other for other, candidate in self._by_name.items() if known(candidate)]
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "GET /v1/models lists the models."
            raise ModelNotFound(f"The model {name[:128]!r} does not exist; {hint}", param="model")
        return model

    def find_for(self, name: str, task: Task, known: Known) -> NamedModel:
        """The model of that name, if it can do the task.

        Args:
            name: An id or an alias.
            task: What it is to do.
            known: Whether the caller may know of a model.

        Raises:
            ModelNotFound: No model of that name.
            WrongModelKind: It is of another kind; says which route is its own.
        """
        model = self.find(name, known)
        kind = model.config.kind
        if kind not in _KINDS[task]:
            raise WrongModelKind(
                f"The model {name!r} is of the kind {kind.value} and does no {task.value}; "
                f"it answers on {_ROUTES[kind]}.",
                param="model",
            )
        return model

"""The replica of the text classifier: scores texts, many calls in one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ray import serve

from deployments.checkpoint import local_folder
from deployments.classifier_checks import require_labels
from deployments.classifier_config import ClassifierConfig

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle
    from torch import Tensor

_ACCELERATOR_SHARE = 0.001
"""Ray's own convention for asking for a GPU type without using it up."""

_OVERLAP = 4
"""The parts of a text that is too long for the model share a quarter of their tokens."""


class NotAClassifier(Exception):
    """The checkpoint has no trained head, or a tokenizer that cannot cut texts into parts."""


class Classifier:
    """Scores texts for some of a model's labels.

    Args:
        config: The model, and how it runs.
        labels: Those that are asked for.

    Raises:
        LabelMismatch: The model lacks one of them.
        NotAClassifier: Its scores would mean nothing.
    """

    def __init__(self, config: ClassifierConfig, labels: Sequence[str]) -> None:
        import torch
        from transformers import AutoTokenizer

        source = _source(config.source)
        self._model = _load(source)
        self._labels = _places(config.source, labels, self._model.config.id2label)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        if not self._tokenizer.is_fast:
            raise NotAClassifier(f"{config.source} has a tokenizer without tokenizer.json; convert it first")
        self._max_length = _max_length(config, self._model, self._tokenizer)
        self._max_batch_size = config.max_batch_size
        if config.accelerator is None:
            torch.set_num_threads(config.cpu_threads)
        else:
            self._model.to("cuda")
        # One thread: the tokenizer's settings are not to be shared, and neither is the processor.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="classifier")
        # For each replica, not for the class: Serve keeps the queue of a method on the class.
        self._score = serve.batch(
            max_batch_size=config.max_batch_size, batch_wait_timeout_s=config.batch_wait_ms / 1000
        )(self._score_batch)
        self._infer(["warm-up"])

    async def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """The probability of each label for each text, in [0, 1].

        The texts of all calls share batches. A text that is longer than the model reads at once is read in
        parts; of each label it gets the highest score.
        """
        return list(await asyncio.gather(*map(self._score, texts)))

    async def _score_batch(self, texts: list[str]) -> list[dict[str, float]]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._infer, texts)

    def _infer(self, texts: list[str]) -> list[dict[str, float]]:
        import torch

        parts = self._tokenizer(
            texts,
            truncation=True,
            max_length=self._max_length,
            stride=self._max_length // _OVERLAP,
            return_overflowing_tokens=True,
            padding=False,
        )
        owners = parts.pop("overflow_to_sample_mapping")
        rows = [self._probabilities(parts, place) for place in range(0, len(owners), self._max_batch_size)]
        scores = torch.zeros(len(texts), len(self._labels))
        # The highest of its parts: scores are not below zero.
        index = torch.tensor(owners).unsqueeze(1).expand(-1, len(self._labels))
        scores.scatter_reduce_(0, index, torch.cat(rows), "amax")
        return [dict(zip(self._labels, row, strict=True)) for row in scores.tolist()]

    def _probabilities(self, parts: Any, begin: int) -> Tensor:
        """Of the labels that are asked for, `[parts, labels]`, for one batch of parts."""
        import torch

        names = [name for name in self._tokenizer.model_input_names if name in parts]
        some = {name: parts[name][begin : begin + self._max_batch_size] for name in names}
        batch = self._tokenizer.pad(some, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            logits = self._model(**batch).logits.float()
        independent = self._model.config.problem_type == "multi_label_classification"
        all_labels = logits.sigmoid() if independent else logits.softmax(-1)
        chosen: Tensor = all_labels[:, list(self._labels.values())].cpu()
        return chosen


def build_classifier(config: ClassifierConfig, labels: Collection[str]) -> DeploymentHandle[Any]:
    """Bind the classifier's deployment.

    Args:
        config: A configuration that ``deployments.classifier_checks`` has found possible.
        labels: Those that will be asked for.

    Returns:
        What ``.bind()`` returns: a handle once the application runs.
    """
    scale = config.autoscale
    deployment = serve.deployment(
        Classifier,
        name="Classifier",
        max_ongoing_requests=scale.max_ongoing_requests,
        max_queued_requests=scale.max_queued_requests,
        ray_actor_options=_resources(config),
        autoscaling_config={
            "min_replicas": scale.min_replicas,
            "max_replicas": scale.max_replicas,
            "target_ongoing_requests": scale.target_ongoing_requests,
        },
    )
    return deployment.bind(config, tuple(labels))


def _resources(config: ClassifierConfig) -> dict[str, Any]:
    if config.accelerator is None:
        # Torch reads it once, when it is loaded.
        threads = {"OMP_NUM_THREADS": str(config.cpu_threads)}
        return {"num_cpus": config.cpu_threads, "runtime_env": {"env_vars": threads}}
    return {
        "num_cpus": 0,
        "num_gpus": config.gpu_share,
        "resources": {f"accelerator_type:{config.accelerator}": _ACCELERATOR_SHARE},
    }


def _source(source: str) -> str:
    folder = local_folder(source)
    return str(folder.resolve()) if folder is not None and folder.is_dir() else source


def _load(source: str) -> Any:
    """The model. A head that is missing would be drawn at random, with a warning and nothing more."""
    from transformers import AutoModelForSequenceClassification

    model, loading = AutoModelForSequenceClassification.from_pretrained(source, output_loading_info=True)
    if loading["missing_keys"]:
        missing = ", ".join(sorted(loading["missing_keys"]))
        raise NotAClassifier(f"{source} lacks {missing}; use a ...ForSequenceClassification checkpoint")
    return model.eval()


def _places(source: str, labels: Sequence[str], known: dict[int, str]) -> dict[str, int]:
    """Where the scores of the labels stand in the model's output."""
    require_labels(source, labels, [known[place] for place in sorted(known)])
    places = {label: place for place, label in known.items()}
    return {label: places[label] for label in labels}


def _max_length(config: ClassifierConfig, model: Any, tokenizer: Any) -> int:
    positions = getattr(model.config, "max_position_embeddings", None)
    return int(
        min(config.max_length_tokens, tokenizer.model_max_length, positions or config.max_length_tokens)
    )

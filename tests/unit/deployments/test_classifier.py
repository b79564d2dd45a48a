"""The classifier's replica with a real model, and what is refused before it is loaded."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from deployments.classifier import Classifier, NotAClassifier
from deployments.classifier_checks import LabelMismatch, classifier_problems
from deployments.classifier_config import ClassifierConfig
from deployments.config import AutoscaleConfig
from tests import classifier_model

GOOD, BAD = "今天天气很好。", "我们去吃毒药吧。"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier_model.build(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(autouse=True)
def replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve's batching asks its replica for one figure."""
    deployment = SimpleNamespace(max_ongoing_requests=64)
    monkeypatch.setattr(
        "ray.serve.get_replica_context", lambda: SimpleNamespace(_deployment_config=deployment)
    )


def config(folder: Path, **changed: Any) -> ClassifierConfig:
    return ClassifierConfig(source=str(folder), **{"batch_wait_ms": 0, **changed})


async def test_bad_texts_score_high_and_only_the_labels_asked_for_come_back(folder: Path) -> None:
    classifier = Classifier(config(folder), ["toxic"])
    scores = await classifier.scores([GOOD, BAD, "let us go", "bomb the weather"])

    assert all(score.keys() == {"toxic"} for score in scores)
    assert [round(score["toxic"]) for score in scores] == [0, 1, 0, 1]


async def test_scores_are_those_of_transformers(folder: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    scores = await Classifier(config(folder), classifier_model.LABELS).scores([BAD])
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = model(**AutoTokenizer.from_pretrained(folder)([BAD], return_tensors="pt")).logits
    assert list(scores[0].values()) == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-6)


async def test_labels_of_a_multi_label_model_are_independent(tmp_path: Path) -> None:
    classifier_model.build(tmp_path, problem_type="multi_label_classification", steps=5)
    scores = await Classifier(config(tmp_path), classifier_model.LABELS).scores(["let us go"])

    assert abs(sum(scores[0].values()) - 1) > 1e-3


async def test_text_longer_than_the_model_reads_at_once_is_read_to_its_end(folder: Path) -> None:
    classifier = Classifier(config(folder), ["toxic"])
    long = "今天天气很好。" * 60
    scores = await classifier.scores([long, long + BAD, GOOD])

    assert [round(score["toxic"]) for score in scores] == [0, 1, 0]


async def test_texts_of_all_calls_share_batches_of_bounded_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(config(folder, max_batch_size=8, batch_wait_ms=50), ["toxic"])
    sizes: list[int] = []
    infer = classifier._infer

    def counted(texts: list[str]) -> list[dict[str, float]]:
        sizes.append(len(texts))
        return infer(texts)

    monkeypatch.setattr(classifier, "_infer", counted)

    answers = await asyncio.gather(*(classifier.scores([GOOD, BAD]) for _ in range(10)))

    assert sum(sizes) == 20
    assert len(sizes) <= 4
    assert max(sizes) <= 8
    assert all([round(score["toxic"]) for score in answer] == [0, 1] for answer in answers)


async def test_event_loop_goes_on_while_the_model_reads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(config(folder), ["toxic"])
    infer = classifier._infer

    def slow(texts: list[str]) -> list[dict[str, float]]:
        time.sleep(0.2)
        return infer(texts)

    monkeypatch.setattr(classifier, "_infer", slow)
    scoring = asyncio.create_task(classifier.scores([GOOD]))
    turns = 0
    while not scoring.done():
        await asyncio.sleep(0.01)  # between two looks
        turns += 1
    assert turns > 5


def test_label_that_the_model_lacks_is_refused_with_those_that_it_has(folder: Path) -> None:
    with pytest.raises(LabelMismatch, match=r"no label 'NEGATIVE'.* Its labels are harmless, toxic\."):
        Classifier(config(folder), ["NEGATIVE"])
    with pytest.raises(LabelMismatch, match="did you mean 'toxic'"):
        Classifier(config(folder), ["Toxic"])


def test_checkpoint_without_a_trained_head_is_refused(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(folder).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(NotAClassifier, match=r"classifier\.weight"):
        Classifier(config(tmp_path), ["toxic"])


def test_check_compares_labels_without_loading_weights(folder: Path, tmp_path: Path) -> None:
    content = (folder / "config.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(content, encoding="utf-8")

    assert not list(classifier_problems(config(tmp_path), ["toxic"], {}))
    (problem,) = classifier_problems(config(tmp_path), ["NEGATIVE"], {})
    assert problem.severity == "error"
    assert "Its labels are harmless, toxic." in problem.message


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"architectures": ["Qwen2ForCausalLM"]}, "no sequence classifier"),
        ({"architectures": None}, "no sequence classifier"),
        ({"id2label": ["a", "b"]}, "not a mapping"),
        ({"id2label": None}, "Its labels are LABEL_0, LABEL_1."),
    ],
)
def test_check_names_what_is_wrong_with_a_folder(
    folder: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**content, **changed}), encoding="utf-8")
    (problem,) = classifier_problems(config(tmp_path), ["toxic"], {})
    assert said in problem.message


def test_check_of_a_model_on_the_hub_says_that_it_could_not_look() -> None:
    (problem,) = classifier_problems(ClassifierConfig(source="someone/guard"), ["toxic"], {})
    assert problem.severity == "warning"


def test_accelerator_must_be_in_the_table(folder: Path) -> None:
    (problem,) = classifier_problems(config(folder, accelerator="A11"), ["toxic"], {})
    assert problem.path == "accelerator"


def test_calls_of_one_text_must_be_able_to_fill_a_batch() -> None:
    with pytest.raises(ValidationError, match="no batch would fill"):
        ClassifierConfig(source="x", max_batch_size=64, autoscale=AutoscaleConfig(max_ongoing_requests=16))

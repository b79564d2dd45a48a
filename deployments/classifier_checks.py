"""Whether a classifier can do what is asked of it, found out from its ``config.json`` before it is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping

from deployments.checkpoint import CheckpointError, local_folder, read_labels
from deployments.classifier_config import ClassifierConfig
from deployments.config import AcceleratorConfig
from deployments.problem import Problem


class LabelMismatch(Exception):
    """Labels are configured that the model does not have; the message lists those that it has."""


def require_labels(source: str, wanted: Collection[str], known: Collection[str]) -> None:
    """Compare the labels that are configured with the model's own.

    Raises:
        LabelMismatch: For the first that the model lacks.
    """
    for label in wanted:
        if label not in known:
            by_form = {name.casefold(): name for name in known}
            near = difflib.get_close_matches(label.casefold(), by_form, n=1)
            hint = f"; did you mean {by_form[near[0]]!r}?" if near else ""
            raise LabelMismatch(f"{source} has no label {label!r}{hint} Its labels are {', '.join(known)}.")


def classifier_problems(
    classifier: ClassifierConfig,
    labels: Collection[str],
    accelerators: Mapping[str, AcceleratorConfig],
) -> Iterator[Problem]:
    """All that is wrong with a classifier.

    Args:
        classifier: The classifier.
        labels: Those that the content filter goes by.
        accelerators: The cluster's GPU machines, by accelerator type.
    """
    if classifier.accelerator is not None and classifier.accelerator not in accelerators:
        listed = f"one of {', '.join(accelerators)}" if accelerators else "the table is empty"
        message = f"{classifier.accelerator!r} is not in the accelerators table; {listed}"
        yield Problem("accelerator", message)
    folder = local_folder(classifier.source)
    if folder is None:
        message = "no folder here: its labels are compared when it is loaded"
        yield Problem("source", f"{classifier.source}: {message}", "warning")
        return
    try:
        require_labels(classifier.source, labels, read_labels(folder))
    except LabelMismatch as error:
        yield Problem("source", str(error))
    except CheckpointError as error:
        elsewhere = classifier.accelerator is not None and not folder.is_dir()
        yield Problem("source", str(error), "warning" if elsewhere else "error")

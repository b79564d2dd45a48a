"""What one engine is asked to do, and what it found: the files between parent and child process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from quantize.errors import QuantizeError

JOB_FILE: Final = "job.json"
SCORES_FILE: Final = "scores.npz"
ANSWERS_FILE: Final = "answers.json"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sequence(_Strict):
    """Tokens to score."""

    line: int = Field(description="The record's line in the evaluation file.")
    token_ids: tuple[int, ...] = Field(description="One placeholder token for each image.")
    counted: int = Field(gt=0, description="How many of the last tokens count.")
    images: tuple[str, ...] = Field(default=(), description="Files, in the order of their placeholders.")


class Prompt(_Strict):
    """A question to answer greedily."""

    line: int = Field(description="The record's line in the evaluation file.")
    token_ids: tuple[int, ...] = Field(description="One placeholder token for each image.")
    max_tokens: int = Field(gt=0, description="Tokens of an answer at most.")
    images: tuple[str, ...] = Field(default=(), description="Files, in the order of their placeholders.")


class Job(_Strict):
    """The same for both checkpoints, token by token, but for the checkpoint itself."""

    model: str = Field(description="Folder of the checkpoint.")
    sequences: tuple[Sequence, ...]
    prompts: tuple[Prompt, ...]
    likeliest: int = Field(description="Tokens of a distribution that are kept, or -1 for all.")
    max_model_len: int = Field(
        gt=0, description="Tokens of the longest sequence, images and answer included."
    )
    max_images: int = Field(0, ge=0, description="Images of the sequence that has most.")
    cache_bytes: int | None = Field(None, description="The KV cache's size on a CPU.")
    tensor_parallel_size: int = Field(1, gt=0, description="GPUs, where there are so many.")

    def write(self, folder: Path) -> None:
        """Put it where the child looks for it."""
        (folder / JOB_FILE).write_text(self.model_dump_json(), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Job:
        """What the parent has put there."""
        return cls.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Scores:
    """What an engine says of all counted tokens, in the order of the job's sequences.

    Attributes:
        actual: Log probability of the token that stands there, ``[tokens]``, nats.
        token_ids: The likeliest tokens, ``[tokens, likeliest]``, likeliest first.
        logprobs: Their log probabilities, ``[tokens, likeliest]``.
        complete: Whether that is the whole vocabulary.
        answers: To the job's prompts.
    """

    actual: NDArray[np.float32]
    token_ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    complete: bool
    answers: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Leave them for the parent."""
        np.savez(
            folder / SCORES_FILE,
            actual=self.actual,
            token_ids=self.token_ids,
            logprobs=self.logprobs,
            complete=np.array(self.complete),
        )
        (folder / ANSWERS_FILE).write_text(json.dumps(self.answers, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Scores:
        """What the child has left.

        Raises:
            QuantizeError: It has left nothing whole.
        """
        try:
            with np.load(folder / SCORES_FILE) as arrays:
                found = {name: arrays[name] for name in ("actual", "token_ids", "logprobs", "complete")}
            answers = tuple(json.loads((folder / ANSWERS_FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError) as error:
            raise QuantizeError(f"the engine has left no whole result ({error}); run it again") from error
        return cls(found["actual"], found["token_ids"], found["logprobs"], bool(found["complete"]), answers)

"""What a check finds wrong with a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a model that cannot work, or that its operator should know.

    Attributes:
        path: The field at fault, within the model (``tensor_parallel_size``, ``engine_kwargs.…``) or, for an
            alias, within the application (``aliases.qwen-max``).
        message: What is wrong and what to do, in one line.
        severity: An error keeps the model from working; a warning does not.
    """

    path: str
    message: str
    severity: Literal["error", "warning"] = "error"

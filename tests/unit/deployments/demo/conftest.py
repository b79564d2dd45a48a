"""One tokenizer for all tests that need one: training it takes a second or two."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from deployments.demo.tokenizer import train_tokenizer, training_text

    return train_tokenizer(2048, training_text())

"""The Authorization header."""

from __future__ import annotations

import pytest

from serve_app.auth.bearer import MAX_TOKEN_CHARS, NoCredential, credential_of
from serve_app.errors import Unauthenticated


def test_credential_is_what_follows_bearer_in_any_case() -> None:
    assert credential_of("Bearer sk-1") == credential_of("bearer  sk-1 ") == "sk-1"


def test_missing_header_says_how_to_get_a_credential() -> None:
    with pytest.raises(NoCredential, match="qwen-serve token") as refused:
        credential_of(None)
    assert refused.value.headers["www-authenticate"]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic dXNlcg==", "sk-1", "Bearer " + "x" * (MAX_TOKEN_CHARS + 1)]
)
def test_header_of_another_form_is_refused_without_repeating_it(header: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        credential_of(header)
    assert not isinstance(refused.value, NoCredential)
    assert "dXNlcg" not in refused.value.message
    assert refused.value.headers["www-authenticate"]

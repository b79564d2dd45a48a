"""``qwen-serve token``: whom it names."""

from __future__ import annotations

import pytest

from tests.unit.serve_app.cli.conftest import Operator


def test_token_is_of_its_tenant(operator: Operator) -> None:
    token = operator.says("token", "--subject", "zhangsan", "--tenant", "research").strip()
    principal = operator.tokens.verify(f"Bearer {token}")
    assert (principal.subject, principal.tenant) == ("zhangsan", "research")


@pytest.mark.parametrize("option", ["--subject", "--tenant"])
def test_name_that_no_token_may_have_is_refused(operator: Operator, option: str) -> None:
    names = {"--subject": "zhangsan", "--tenant": "research", option: "a\x07b"}
    assert option in operator.fails("token", *(word for pair in names.items() for word in pair))

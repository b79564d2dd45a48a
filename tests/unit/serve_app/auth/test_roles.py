"""What roles grant."""

from __future__ import annotations

import pytest

from serve_app.auth.config import AuthConfig, RoleConfig
from serve_app.auth.principal import Principal
from serve_app.auth.roles import Roles

ROLES = Roles(
    {
        "chatter": RoleConfig(models=("qwen2.5-*", "qwen-max"), routes=("chat", "models")),
        "searcher": RoleConfig(models=("*-embedding-?",), routes=("embedding",)),
        "auditor": RoleConfig(admin=True),
        "all": RoleConfig(models=("*",)),
    }
)


def who(*roles: str, models: tuple[str, ...] | None = None) -> Principal:
    return Principal("zhangsan", frozenset(roles), models=models)


@pytest.mark.parametrize(
    ("principal", "model", "alias", "task", "granted"),
    [
        (who("chatter"), "qwen2.5-7b", None, "chat", True),
        (who("chatter"), "qwen2.5-7b", None, "completion", False),
        (who("chatter"), "qwen2-vl", None, "chat", False),
        (who("chatter"), "Qwen2.5-7b", None, "chat", False),
        (who("chatter"), "qwen-72b", "qwen-max", "chat", True),
        (who("chatter"), "qwen-72b", None, "chat", False),
        (who("chatter"), "qwen-72b", "other", "chat", False),
        (who("searcher"), "qwen3-embedding-8", None, "embedding", True),
        (who("searcher"), "qwen3-embedding-88", None, "embedding", False),
        (who("chatter", "searcher"), "qwen2.5-7b", None, "embedding", False),
        (who("auditor"), "qwen2.5-7b", None, "models", False),
        (who("all"), "anything", None, "score", True),
        (who("all"), "anything", None, "unheard-of", False),
        (who("nobody"), "qwen2.5-7b", None, "chat", False),
        (who(), "qwen2.5-7b", None, "chat", False),
        (who("nobody", "chatter"), "qwen2.5-7b", None, "chat", True),
        (who("all", models=("qwen2.5-*",)), "qwen2.5-7b", None, "chat", True),
        (who("all", models=("qwen2.5-*",)), "qwen2-vl", None, "chat", False),
        (who("all", models=("qwen-max",)), "qwen-72b", "qwen-max", "chat", True),
        (who("searcher", models=("*",)), "qwen2.5-7b", None, "chat", False),
    ],
)
def test_grant(principal: Principal, model: str, alias: str | None, task: str, granted: bool) -> None:
    for _ in range(2):  # the second time from what was compiled
        assert ROLES.may_use(principal, model, alias, task) is granted


def test_administration_is_for_admin_roles_without_restriction() -> None:
    assert ROLES.is_admin(who("auditor"))
    assert ROLES.is_admin(who("nobody", "auditor"))
    assert not ROLES.is_admin(who("all"))
    assert not ROLES.is_admin(who("admin"))
    assert not ROLES.is_admin(who("auditor", models=("*",)))


def test_default_roles_are_user_and_admin(tmp_path: object) -> None:
    roles = Roles(AuthConfig.model_validate({"secret_file": "jwt.key"}).roles)
    assert roles.may_use(who("user"), "any", None, "chat")
    assert not roles.is_admin(who("user"))
    assert roles.may_use(who("admin"), "any", None, "models")
    assert roles.is_admin(who("admin"))

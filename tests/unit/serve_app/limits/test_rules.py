"""Which limits hold for whom."""

from __future__ import annotations

from typing import Any

from serve_app.limits.bucket import Bucket, LimitName, Scope
from serve_app.limits.config import LimitRule
from serve_app.limits.rules import Caller, RuleSet

ALICE = Caller(user="alice", tenant="lab", key_id="k1", roles=frozenset({"staff", "night"}))


def _rule(**values: Any) -> LimitRule:
    return LimitRule.model_validate(values)


def _limits(
    rules: RuleSet, caller: Caller = ALICE, model: str = "big"
) -> dict[tuple[str, str, str | None], int]:
    quotas = rules.quotas(caller, model)
    return {(q.bucket.scope, q.bucket.name, q.bucket.model): q.limit for q in quotas}


def test_rule_for_each_is_a_bucket_for_each() -> None:
    rules = RuleSet([_rule(scope="user", requests_per_minute=5)])
    assert _limits(rules) == {("user", "alice", None): 5}
    assert _limits(rules, Caller(user="bob")) == {("user", "bob", None): 5}


def test_most_specific_rule_wins_and_what_it_does_not_say_is_left_to_the_others() -> None:
    rules = RuleSet(
        [
            _rule(scope="user", requests_per_minute=5, tokens_per_day=100),
            _rule(scope="user", name="alice", requests_per_minute=3),
            _rule(scope="user", role="staff", requests_per_minute=50),
        ]
    )
    assert {(q.bucket.limit, q.limit) for q in rules.quotas(ALICE, "big")} == {
        (LimitName.REQUESTS_PER_MINUTE, 3),
        (LimitName.TOKENS_PER_DAY, 100),
    }


def test_rule_of_a_role_holds_for_those_who_have_it_and_the_larger_of_two_wins() -> None:
    rules = RuleSet(
        [
            _rule(scope="user", requests_per_minute=5),
            _rule(scope="user", role="staff", requests_per_minute=50),
            _rule(scope="user", role="night", requests_per_minute=70),
        ]
    )
    assert _limits(rules) == {("user", "alice", None): 70}
    assert _limits(rules, Caller(user="bob")) == {("user", "bob", None): 5}


def test_limit_of_a_model_and_limit_of_all_models_hold_both() -> None:
    rules = RuleSet(
        [
            _rule(scope="user", requests_per_minute=50),
            _rule(scope="user", model="*", requests_per_minute=20),
            _rule(scope="user", model="big", requests_per_minute=3),
        ]
    )
    assert _limits(rules) == {("user", "alice", None): 50, ("user", "alice", "big"): 3}
    assert _limits(rules, model="small") == {("user", "alice", None): 50, ("user", "alice", "small"): 20}


def test_key_user_tenant_and_model_are_limited_side_by_side() -> None:
    rules = RuleSet([_rule(scope=scope, requests_per_minute=i + 1) for i, scope in enumerate(Scope)])
    assert _limits(rules) == {
        ("key", "k1", None): 1,
        ("user", "alice", None): 2,
        ("tenant", "lab", None): 3,
        ("model", "big", None): 4,
    }
    assert set(_limits(rules, Caller(user="bob"))) == {("user", "bob", None), ("model", "big", None)}


def test_users_of_the_same_name_in_two_tenants_share_nothing() -> None:
    rules = RuleSet([_rule(scope="user", requests_per_minute=5)])
    other = Caller(user="alice", tenant="office")
    assert rules.quotas(ALICE, "big")[0].bucket.id != rules.quotas(other, "big")[0].bucket.id


def test_rule_of_a_tenant_holds_for_its_users_only() -> None:
    rules = RuleSet([_rule(scope="user", tenant="lab", requests_per_minute=5)])
    assert _limits(rules) == {("user", "alice", None): 5}
    assert _limits(rules, Caller(user="alice", tenant="office")) == {}


def test_override_wins_over_a_rule_that_is_as_specific() -> None:
    rules = [_rule(scope="user", name="alice", requests_per_minute=5)]
    lower = _rule(scope="user", name="alice", requests_per_minute=2)
    everyone = _rule(scope="user", requests_per_minute=99)
    assert _limits(RuleSet(rules, [lower])) == {("user", "alice", None): 2}
    assert _limits(RuleSet(rules, [everyone])) == {("user", "alice", None): 5}


def test_names_cannot_pass_for_other_names() -> None:
    names = ["a", "a/b", "*", "a%2Fb", "a:b", "{a}", "大"]
    buckets = [
        Bucket(LimitName.REQUESTS_PER_MINUTE, Scope.USER, name, tenant, model)
        for name in names
        for tenant in names
        for model in [None, *names]
    ]
    assert len({bucket.id for bucket in buckets}) == len(buckets)
    assert all(bucket.id.isascii() and "{" not in bucket.id for bucket in buckets)

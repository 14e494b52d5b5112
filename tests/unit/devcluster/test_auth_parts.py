"""Tokens and RBAC rules on their own."""

from __future__ import annotations

from devcluster.auth.rules import FULL_AUTHORITY, Attributes, missing, parse_rules
from devcluster.auth.tokens import Tokens


def _token(tokens: Tokens, *, seconds: int = 600) -> str:
    issued = tokens.issue(namespace="n", name="a", uid="u", audiences=["x"], seconds=seconds)
    return issued.token


def test_tokens_are_verified_by_the_key_that_signed_them() -> None:
    ours, theirs = Tokens(), Tokens()
    token = _token(ours)
    claims = ours.verify(token)
    head, body, signature = token.split(".")

    assert claims is not None
    assert (claims.namespace, claims.name, claims.uid, claims.audiences) == ("n", "a", "u", ("x",))
    assert theirs.verify(token) is None
    assert ours.verify(f"{head}.{body}.{signature[:-4]}AAAA") is None
    assert ours.verify(f"{head}.{body[:-2]}.{signature}") is None
    assert ours.verify("nonsense") is None


def test_expired_tokens_are_refused() -> None:
    tokens = Tokens()

    assert tokens.verify(_token(tokens, seconds=-1)) is None


def test_rules_match_as_rbac_does() -> None:
    (rule,) = parse_rules(
        [
            {
                "apiGroups": ["apps"],
                "resources": ["deployments", "*/scale"],
                "verbs": ["get"],
                "resourceNames": ["d"],
            }
        ]
    )

    assert rule.allows(Attributes("get", "apps", "deployments", name="d"))
    assert rule.allows(Attributes("get", "apps", "statefulsets", "scale", name="d"))
    assert not rule.allows(Attributes("get", "apps", "deployments"))
    assert not rule.allows(Attributes("get", "apps", "deployments", "status", name="d"))
    assert not rule.allows(Attributes("get", "", "deployments", name="d"))
    assert not rule.allows(Attributes("list", "apps", "deployments", name="d"))


def test_paths_match_whole_or_by_prefix() -> None:
    (rule,) = parse_rules([{"nonResourceURLs": ["/healthz", "/api/*"], "verbs": ["get"]}])

    assert rule.allows(Attributes("get", path="/api/v1"))
    assert rule.allows(Attributes("get", path="/healthz"))
    assert not rule.allows(Attributes("get", path="/healthz/ping"))


def test_what_is_missing_is_named_compactly() -> None:
    owned = parse_rules([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])
    wanted = parse_rules(
        [
            {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
            {"nonResourceURLs": ["/x"], "verbs": ["get"]},
        ]
    )

    assert missing(owned, wanted) == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}',
        '{APIGroups:[""], Resources:["pods/log"], Verbs:["get" "list"]}',
        '{NonResourceURLs:["/x"], Verbs:["get"]}',
    ]
    assert missing(FULL_AUTHORITY, wanted) == []

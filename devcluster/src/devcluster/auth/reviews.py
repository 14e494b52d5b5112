"""Reviews: questions about tokens and permissions, answered and forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster import clock, errors, naming
from devcluster.auth.authenticate import Authenticator
from devcluster.auth.questions import invalid_cause, question_causes, unread_selectors
from devcluster.auth.rbac import Rbac
from devcluster.auth.rules import Attributes, Rule
from devcluster.auth.tokens import ISSUER, Tokens
from devcluster.identity import User
from devcluster.kinds import Target
from devcluster.store import Store

__all__ = ["Reviews"]

JsonObject = dict[str, Any]


class Reviews:
    """Creates of the review kinds."""

    def __init__(
        self, *, store: Store, rbac: Rbac, authenticator: Authenticator, tokens: Tokens
    ) -> None:
        self._store = store
        self._rbac = rbac
        self._authenticator = authenticator
        self._tokens = tokens

    def answer(self, target: Target, obj: JsonObject, user: User) -> JsonObject:
        """The review with its status; raises 400 or 422."""
        spec = obj.get("spec") or {}
        match target.kind.kind:
            case "SelfSubjectReview":
                return self._self_review(obj, user)
            case "TokenReview":
                return self._token_review(obj, spec)
            case "SelfSubjectAccessReview":
                return self._access(target, obj, spec, user)
            case "SelfSubjectRulesReview":
                return self._rules(obj, spec, user)
            case _:
                asked_for = User(
                    spec.get("user", ""),
                    uid=spec.get("uid", ""),
                    groups=tuple(spec.get("groups") or ()),
                    extra={k: tuple(v) for k, v in (spec.get("extra") or {}).items()},
                )
                return self._access(target, obj, spec, asked_for, other=True)

    @staticmethod
    def _self_review(obj: JsonObject, user: User) -> JsonObject:
        meta = {"creationTimestamp": clock.stamp()}
        return {**obj, "metadata": meta, "status": {"userInfo": user_info(user)}}

    def _token_review(self, obj: JsonObject, spec: Mapping[str, Any]) -> JsonObject:
        token = spec.get("token", "")
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        audiences = tuple(spec.get("audiences") or (ISSUER,))
        user = self._authenticator.token_user(token, audiences=audiences)
        if user is None:
            status: JsonObject = {"user": {}, "error": self._why_not(token, audiences)}
        else:
            claims = self._tokens.verify(token)
            shared = [a for a in (claims.audiences if claims else audiences) if a in audiences]
            status = {"authenticated": True, "user": user_info(user), "audiences": shared}
        return {**obj, "metadata": {}, "status": status}

    def _why_not(self, token: str, audiences: tuple[str, ...]) -> str:
        claims = self._tokens.verify(token)
        if claims is None or set(claims.audiences) & set(audiences):
            return "invalid bearer token"
        meant, asked = (
            "[" + " ".join(f'"{one}"' for one in words) + "]"
            for words in (claims.audiences, audiences)
        )
        text = f"token audiences {meant} is invalid for the target audiences {asked}"
        return f"[invalid bearer token, {text}]"

    def _access(
        self,
        target: Target,
        obj: JsonObject,
        spec: Mapping[str, Any],
        user: User,
        *,
        other: bool = False,
    ) -> JsonObject:
        naming.check(target, obj)
        resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        causes = question_causes(obj, spec, local=bool(target.namespace))
        if other and not user.name and not user.groups:
            causes.append(
                invalid_cause(
                    "spec.user",
                    'Invalid value: "": at least one of user or group must be specified',
                )
            )
        namespace = (resource or {}).get("namespace", "")
        if target.namespace and not path and namespace != target.namespace:
            causes.append(
                invalid_cause(
                    "spec.resourceAttributes.namespace",
                    f'Invalid value: "{namespace}": must match metadata.namespace',
                )
            )
        if causes:
            raise _invalid_review(causes)
        decision = self._rbac.decide(user, _asked(resource, path))
        status: JsonObject = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        ignored = unread_selectors(resource or {})
        if ignored:
            status["evaluationError"] = ignored
        meta = {"namespace": target.namespace} if target.namespace else {}
        return {**obj, "metadata": meta, "status": status}

    def _rules(self, obj: JsonObject, spec: Mapping[str, Any], user: User) -> JsonObject:
        namespace = spec.get("namespace", "")
        if not namespace:
            raise errors.bad_request("no namespace on request")
        rules, lost = self._rbac.rules_for(user, namespace)
        status: JsonObject = {
            "resourceRules": [_resource_rule(rule) for rule in rules if rule.resources],
            "nonResourceRules": [
                {"verbs": sorted(rule.verbs), "nonResourceURLs": sorted(rule.urls)}
                for rule in rules
                if rule.urls
            ],
            "incomplete": False,
        }
        if lost:
            status["evaluationError"] = ", ".join(lost)
        return {**obj, "metadata": {}, "spec": {}, "status": status}


def user_info(user: User) -> JsonObject:
    """``authentication.k8s.io/v1`` UserInfo."""
    info: JsonObject = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def _asked(resource: Mapping[str, Any] | None, path: Mapping[str, Any] | None) -> Attributes:
    if resource is None:
        path = path or {}
        return Attributes(path.get("verb", ""), path=path.get("path", "") or "/")
    return Attributes(
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("resource", ""),
        resource.get("subresource", ""),
        resource.get("namespace", ""),
        resource.get("name", ""),
        version=resource.get("version", ""),
    )


def _resource_rule(rule: Rule) -> JsonObject:
    shown: JsonObject = {
        "verbs": sorted(rule.verbs),
        "apiGroups": sorted(rule.groups),
        "resources": sorted(rule.resources),
    }
    if rule.names:
        shown["resourceNames"] = sorted(rule.names)
    return shown


def _invalid_review(causes: list[dict[str, str]]) -> errors.ApiFailure:
    return errors.invalid(group="authorization.k8s.io", kind="", name="", causes=causes)

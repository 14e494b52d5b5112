"""Reviews: questions about tokens and permissions, answered and forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster import clock, errors
from devcluster.auth.authenticate import Authenticator
from devcluster.auth.rbac import Rbac
from devcluster.auth.rules import Attributes, Rule
from devcluster.auth.tokens import ISSUER, Tokens
from devcluster.identity import User
from devcluster.kinds import Target
from devcluster.store import Store

__all__ = ["Reviews"]

JsonObject = dict[str, Any]
_MIN_SECONDS = 600
_MAX_SECONDS = 1 << 32


class Reviews:
    """Creates of the review kinds and of ``serviceaccounts/token``."""

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
            status: JsonObject = {"user": {}, "error": "invalid bearer token"}
        else:
            claims = self._tokens.verify(token)
            shared = [a for a in (claims.audiences if claims else audiences) if a in audiences]
            status = {"authenticated": True, "user": user_info(user), "audiences": shared}
        return {**obj, "metadata": {}, "status": status}

    def _access(
        self,
        target: Target,
        obj: JsonObject,
        spec: Mapping[str, Any],
        user: User,
        *,
        other: bool = False,
    ) -> JsonObject:
        resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        causes: list[dict[str, str]] = []
        if (resource is None) == (path is None):
            what = "exactly one of" if resource is None else "cannot be specified in combination"
            message = (
                "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes"
                " must be specified"
            )
            if resource is not None:
                message = f"Invalid value: null: {what} with resourceAttributes"
            causes.append(_cause("spec", message))
        if other and not user.name and not user.groups:
            causes.append(
                _cause(
                    "spec.user",
                    'Invalid value: "": at least one of user or group must be specified',
                )
            )
        namespace = (resource or {}).get("namespace", "")
        if target.namespace and namespace != target.namespace:
            causes.append(
                _cause(
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
            "incomplete": bool(lost),
        }
        if lost:
            status["evaluationError"] = ", ".join(lost)
        return {**obj, "metadata": {}, "spec": {}, "status": status}

    # --- token requests -----------------------------------------------------------------------

    def issue(self, target: Target, obj: JsonObject) -> JsonObject:
        """Answer a TokenRequest for the service account ``target``; 404 and 422 as usual."""
        row = self._store.table(("", "serviceaccounts")).by_key.get(
            f"{target.namespace}/{target.name}"
        )
        if row is None:
            raise errors.not_found(group="", plural="serviceaccounts", name=target.name)
        self._check_space(target)
        spec = dict(obj.get("spec") or {})
        audiences = spec.get("audiences") or [ISSUER]
        seconds = spec.get("expirationSeconds")
        seconds = 3600 if seconds is None else seconds
        self._check_seconds(seconds)
        bound = self._bound(target, spec.get("boundObjectRef"))
        issued = self._tokens.issue(
            namespace=target.namespace,
            name=target.name,
            uid=row.uid,
            audiences=audiences,
            seconds=seconds,
            bound=bound,
        )
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": target.name,
                "namespace": target.namespace,
                "uid": row.uid,
                "creationTimestamp": clock.stamp(),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {
                "token": issued.token,
                "expirationTimestamp": clock.format_time(issued.expires),
            },
        }

    def _check_space(self, target: Target) -> None:
        """Refuse a token in a namespace that is going, as anything new there."""
        space = self._store.table(("", "namespaces")).by_key.get(target.namespace)
        if space is not None and b'"deletionTimestamp"' in space.metadata:
            raise errors.terminating(
                group="", plural="serviceaccounts", name=target.name, namespace=target.namespace
            )

    @staticmethod
    def _check_seconds(seconds: int) -> None:
        message = ""
        if seconds < _MIN_SECONDS:
            message = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
        elif seconds > _MAX_SECONDS:
            message = (
                f"Invalid value: {seconds}: may not specify a duration larger than 2^32 seconds"
            )
        if message:
            raise errors.invalid(
                group="authentication.k8s.io",
                kind="TokenRequest",
                name="",
                causes=[_cause("spec.expirationSeconds", message)],
            )

    def _bound(
        self, target: Target, reference: Mapping[str, str] | None
    ) -> Mapping[str, str] | None:
        if not reference:
            return None
        kind, name = reference.get("kind", ""), reference.get("name", "")
        plural = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}.get(kind)
        if plural is None:
            raise errors.bad_request(f"cannot bind token to object of type {kind}")
        key = name if kind == "Node" else f"{target.namespace}/{name}"
        row = self._store.table(("", plural)).by_key.get(key)
        if row is None:
            raise errors.not_found(group="", plural=plural, name=name)
        uid = reference.get("uid", "")
        if uid and uid != row.uid:
            raise errors.conflict(
                group="",
                plural=plural,
                name=name,
                why=f"the UID in the bound object reference ({uid}) does not match the UID in"
                f" record. The object might have been deleted and then recreated",
            )
        return {"kind": kind, "name": name, "uid": row.uid}


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


def _cause(field: str, message: str) -> dict[str, str]:
    return {"reason": "FieldValueInvalid", "message": message, "field": field}


def _invalid_review(causes: list[dict[str, str]]) -> errors.ApiFailure:
    return errors.invalid(group="authorization.k8s.io", kind="", name="", causes=causes)

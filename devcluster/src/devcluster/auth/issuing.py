"""Requests for tokens of service accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster import clock, errors, naming
from devcluster.auth.tokens import ISSUER, Tokens
from devcluster.kinds import Kind, Target
from devcluster.store import Row, Store

__all__ = ["TOKEN_REQUEST", "Issuer"]

JsonObject = dict[str, Any]
TOKEN_REQUEST = Kind(
    group="authentication.k8s.io",
    version="v1",
    kind="TokenRequest",
    plural="tokenrequests",
    singular="tokenrequest",
    namespaced=True,
)
"""The kind of the body of ``serviceaccounts/token``."""

_MIN_SECONDS = 600
_MAX_SECONDS = 1 << 32
_PLURALS = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


class Issuer:
    """Creates of ``serviceaccounts/token``."""

    def __init__(self, store: Store, tokens: Tokens) -> None:
        self._store = store
        self._tokens = tokens

    def issue(self, target: Target, obj: JsonObject, *, manager: str) -> JsonObject:
        """Answer a TokenRequest for the service account ``target``; 403, 404 and 422 as usual."""
        row = self._account(target, obj)
        sent = obj.get("spec") or {}
        audiences = sent.get("audiences") or [ISSUER]
        seconds = sent.get("expirationSeconds")
        seconds = 3600 if seconds is None else seconds
        _check_seconds(seconds)
        bound = self._bound(target, sent.get("boundObjectRef"))
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
            "apiVersion": TOKEN_REQUEST.api_version,
            "metadata": {
                "name": target.name,
                "namespace": target.namespace,
                "uid": row.uid,
                "creationTimestamp": clock.stamp(),
                "managedFields": [_ownership(sent, manager)],
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": sent.get("boundObjectRef"),
            },
            "status": {
                "token": issued.token,
                "expirationTimestamp": clock.format_time(issued.expires),
            },
        }

    def _account(self, target: Target, obj: JsonObject) -> Row:
        """The account's row, once account, namespace and request fit together."""
        meta = obj.get("metadata") or {}
        naming.check(Target(target.kind, namespace=target.namespace), obj)
        row = self._store.table(("", "serviceaccounts")).by_key.get(
            f"{target.namespace}/{target.name}"
        )
        if row is None:
            raise errors.not_found(group="", plural="serviceaccounts", name=target.name)
        space = self._store.table(("", "namespaces")).by_key.get(target.namespace)
        if space is not None and b'"deletionTimestamp"' in space.metadata:
            raise errors.terminating(
                group="", plural="serviceaccounts", name=target.name, namespace=target.namespace
            )
        if meta.get("name") and meta["name"] != target.name:
            text = (
                f'Invalid value: "{meta["name"]}": must match the service account name if specified'
            )
            raise _invalid(target.name, "metadata.name", text)
        return row

    def _bound(
        self, target: Target, reference: Mapping[str, str] | None
    ) -> Mapping[str, str] | None:
        """What the token ends with: kind, name and uid."""
        if not reference:
            return None
        kind, name = reference.get("kind", ""), reference.get("name", "")
        plural = _PLURALS.get(kind)
        if plural is None:
            group, _, version = reference.get("apiVersion", "").rpartition("/")
            raise errors.bad_request(
                f"cannot bind token to object of type {group}/{version}, Kind={kind}"
            )
        if not name:
            raise errors.bad_request("Name parameter required.")
        key = name if kind == "Node" else f"{target.namespace}/{name}"
        row = self._store.table(("", plural)).by_key.get(key)
        if row is None:
            raise errors.not_found(group="", plural=plural, name=name)
        if kind == "Pod":
            _check_pod(target, row)
        uid = reference.get("uid", "")
        if uid and uid != row.uid:
            raise errors.conflict(
                group="",
                plural=kind,
                name=name,
                why=f"the UID in the bound object reference ({uid}) does not match the UID in"
                f" record. The object might have been deleted and then recreated",
            )
        return {"kind": kind, "name": name, "uid": row.uid}


def _check_pod(target: Target, pod: Row) -> None:
    if pod.decode()["spec"].get("serviceAccountName") != target.name:
        raise errors.bad_request(
            f'cannot bind token for serviceaccount "{target.name}" to pod running with different'
            " serviceaccount name."
        )


def _check_seconds(seconds: int) -> None:
    message = ""
    if seconds < _MIN_SECONDS:
        message = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
    elif seconds > _MAX_SECONDS:
        message = f"Invalid value: {seconds}: may not specify a duration larger than 2^32 seconds"
    if message:
        raise _invalid("", "spec.expirationSeconds", message)


def _invalid(name: str, field: str, message: str) -> errors.ApiFailure:
    cause = {"reason": "FieldValueInvalid", "message": message, "field": field}
    group = TOKEN_REQUEST.group
    return errors.invalid(group=group, kind=TOKEN_REQUEST.kind, name=name, causes=[cause])


def _ownership(sent: Mapping[str, Any], manager: str) -> JsonObject:
    fields: JsonObject = {"f:expirationSeconds": {}}
    if sent.get("audiences"):
        fields["f:audiences"] = {}
    reference = sent.get("boundObjectRef")
    if reference:
        fields["f:boundObjectRef"] = {".": {}, **{f"f:{name}": {} for name in reference}}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": TOKEN_REQUEST.api_version,
        "time": clock.stamp(),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": fields},
        "subresource": "token",
    }

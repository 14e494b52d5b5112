"""Names and namespaces of objects against those on the URL."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from devcluster import errors
from devcluster.kinds import Target

__all__ = ["SUFFIX_LETTERS", "check", "must_be_named", "place"]

JsonObject = dict[str, Any]
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_MAX_BASE = 58  # of generateName: with five more characters a name still fits into a label


def check(target: Target, obj: JsonObject) -> None:
    """Refuse an object whose name or namespace is not that of the URL; 400."""
    meta = obj.get("metadata")
    if not isinstance(meta, dict):
        return
    name = meta.get("name")
    if target.name and name and name != target.name:
        raise errors.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )
    given = meta.get("namespace")
    if given and target.namespace and given != target.namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def must_be_named(target: Target, obj: JsonObject) -> None:
    """Refuse an object without the name that its URL has; 400."""
    if not (obj.get("metadata") or {}).get("name"):
        raise errors.bad_request(
            f"the name of the object ({target.name} based on URL) was undeterminable: name must be"
            " provided"
        )


def place(target: Target, obj: JsonObject) -> Target:
    """Give the object the URL's namespace and name, or a generated name; the complete target.

    Raises:
        ApiFailure: 400 where they disagree, 422 without any name.

    """
    check(target, obj)
    # A copy: a decoder may have filled in an empty one that all objects share.
    meta = obj["metadata"] = dict(obj.get("metadata") or {})
    if target.namespace:
        meta["namespace"] = target.namespace
    else:
        meta.pop("namespace", None)
    name = target.name or meta.get("name") or _generated(meta)
    if not name:
        raise _name_required(target)
    meta["name"] = name
    return replace(target, name=name)


def _generated(meta: JsonObject) -> str:
    base = meta.get("generateName") or ""
    if not base:
        return ""
    suffix = "".join(secrets.choice(SUFFIX_LETTERS) for _ in range(5))
    return f"{base[:_MAX_BASE]}{suffix}"


def _name_required(target: Target) -> errors.ApiFailure:
    kind = target.kind
    cause = {
        "reason": "FieldValueRequired",
        "message": "Required value: name or generateName is required",
        "field": "metadata.name",
    }
    return errors.invalid(group=kind.group, kind=kind.kind, name="", causes=[cause])

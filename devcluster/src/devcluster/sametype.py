"""What a body says it is, against the kind of the path."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import orjson

from devcluster import errors
from devcluster.kinds import Kind
from devcluster.store import ordered_metadata

__all__ = ["check_options", "check_patched", "check_sent"]

JsonObject = dict[str, Any]
_SCHEME = 'in scheme "pkg/runtime/scheme.go:111"'


def check_sent(kind: Kind, obj: JsonObject, api_version: str, name: str) -> None:
    """Refuse a body that says to be of another kind or version; 400 or 422."""
    if kind.crd:
        _check_custom(kind, obj, api_version, name)
        return
    if not api_version or not name:
        return
    version = api_version.rpartition("/")[2]
    raise errors.bad_request(
        f'{name} in version "{version}" cannot be handled as a {kind.kind}:'
        f" {_why(kind, api_version, name)}"
    )


def check_patched(kind: Kind, obj: JsonObject) -> None:
    """Refuse a patch that makes something else of an object of a built-in kind; 422."""
    given = (obj.get("apiVersion") or "", obj.get("kind") or "")
    if kind.crd or given in {(kind.api_version, kind.kind), ("", "")}:
        return
    shown = {**obj, "metadata": ordered_metadata(obj.get("metadata") or {})}
    text = orjson.dumps({name: shown[name] for name in sorted(shown)}).decode()
    cause = {
        "reason": "FieldValueInvalid",
        "message": f"Invalid value: {orjson.dumps(text).decode()}: {_why(kind, *given)}",
        "field": "patch",
    }
    raise errors.invalid(group="", kind="", name="", causes=[cause])


def check_options(options: JsonObject, kind: str) -> None:
    """Refuse a body that is there for options and says to be something else; 400."""
    given = options.get("kind")
    if given and given != kind:
        version = options.get("apiVersion", "")
        raise errors.bad_request(
            f'no kind "{given}" is registered for version "{version}" {_SCHEME}'
        )


def _check_custom(kind: Kind, obj: JsonObject, api_version: str, name: str) -> None:
    if api_version != kind.api_version:
        raise errors.bad_request(
            f"the API version in the data ({api_version}) does not match the expected API"
            f" version ({kind.api_version})"
        )
    cause = {
        "reason": "FieldValueInvalid",
        "message": f'Invalid value: "{name}": must be {kind.kind}',
        "field": "kind",
    }
    own_name = (obj.get("metadata") or {}).get("name", "")
    raise errors.invalid(group=kind.group, kind=name, name=own_name, causes=[cause])


def _why(kind: Kind, api_version: str, name: str) -> str:
    if (api_version, name.removesuffix("List")) not in _builtin():
        return f'no kind "{name}" is registered for version "{api_version}" {_SCHEME}'
    version = api_version.rpartition("/")[2]
    package = (kind.group or "core").partition(".")[0]
    return f"converting ({version}.{name}) to ({package}.{kind.kind}): unknown conversion"


@functools.cache
def _builtin() -> frozenset[tuple[str, str]]:
    """API version and name of each kind that the server has by itself."""
    raw = resources.files("devcluster").joinpath("data/kinds.json").read_bytes()
    return frozenset(
        (f"{entry['group']}/{entry['version']}".removeprefix("/"), entry["kind"])
        for entry in orjson.loads(raw)
    )

"""Which state of an object a write is meant for: its version, its uid, its time of deletion."""

from __future__ import annotations

from typing import Any

from devcluster import errors
from devcluster.kinds import Target

__all__ = ["check_deletion_time", "check_uid", "check_version", "version_required"]

JsonObject = dict[str, Any]


def check_version(target: Target, new: JsonObject, old: JsonObject) -> None:
    """409 for a write that names another version than the stored one."""
    wanted = (new.get("metadata") or {}).get("resourceVersion")
    if wanted and wanted != old["metadata"]["resourceVersion"] and wanted != "0":
        kind = target.kind
        if not str(wanted).isdigit():
            text = f'strconv.ParseUint: parsing "{wanted}": invalid syntax'
            raise errors.ApiFailure(500, "", text)
        raise errors.conflict(group=kind.group, plural=kind.plural, name=target.name)


def check_uid(target: Target, new: JsonObject, found: str) -> None:
    """409 for a PUT for another incarnation of the object; ``found`` is empty when there is none."""
    wanted = new["metadata"].get("uid")
    if wanted and wanted != found:
        kind = target.kind
        group = f"{kind.group}/" if kind.crd else ""
        where = f"{target.namespace}/" if target.namespace else ""
        raise errors.conflict(
            group=kind.group,
            plural=kind.plural,
            name=target.name,
            why="StorageError: invalid object, Code: 4, Key: /registry/"
            f"{group}{kind.plural}/{where}{target.name}, ResourceVersion: 0,"
            f" AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted},"
            f" UID in object meta: {found}",
        )


def check_deletion_time(target: Target, new: JsonObject, old: JsonObject) -> None:
    """422: nobody but a delete sets the time of deletion."""
    given = new["metadata"].get("deletionTimestamp")
    if not given or given == old["metadata"].get("deletionTimestamp"):
        return
    kind = target.kind
    cause = {
        "reason": "FieldValueInvalid",
        "message": f'Invalid value: "{given}": field is immutable',
        "field": "metadata.deletionTimestamp",
    }
    raise errors.invalid(group=kind.group, kind=kind.kind, name=target.name, causes=[cause])


def version_required(target: Target) -> errors.ApiFailure:
    """422 for an update without a version where the kind wants one."""
    kind = target.kind
    cause = {
        "reason": "FieldValueInvalid",
        "message": "Invalid value: 0: must be specified for an update",
        "field": "metadata.resourceVersion",
    }
    return errors.invalid(group=kind.group, kind=kind.plural, name=target.name, causes=[cause])

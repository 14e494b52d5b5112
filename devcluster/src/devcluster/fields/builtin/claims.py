"""Claim templates in the server's internal form, in which its refusals quote them."""

from __future__ import annotations

from typing import Any

from devcluster.fields.schema import JsonObject

__all__ = ["internal_templates"]

_SPEC = (
    *("AccessModes", "Selector", "Resources", "VolumeName", "StorageClassName", "VolumeMode"),
    *("DataSource", "DataSourceRef", "VolumeAttributesClassName"),
)
_STATUS = (
    *("Phase", "AccessModes", "Capacity", "Conditions", "AllocatedResources"),
    *("AllocatedResourceStatuses", "CurrentVolumeAttributesClassName", "ModifyVolumeStatus"),
    "HealthStatus",
)


def internal_templates(templates: list[JsonObject]) -> list[JsonObject]:
    """``spec.volumeClaimTemplates`` as the server's own structs."""
    return [
        {
            **template.get("metadata", {}),
            "Spec": _spec(template.get("spec") or {}),
            "Status": {name: _field(template.get("status") or {}, name) for name in _STATUS},
        }
        for template in templates
    ]


def _spec(spec: JsonObject) -> JsonObject:
    made = {name: _field(spec, name) for name in _SPEC}
    resources = spec.get("resources") or {}
    made["Resources"] = {
        "Limits": resources.get("limits"),
        "Requests": resources.get("requests"),
    }
    made["VolumeName"] = spec.get("volumeName", "")
    return made


def _field(value: JsonObject, name: str) -> Any:
    found = value.get(name[0].lower() + name[1:])
    if name in {"DataSource", "DataSourceRef"} and isinstance(found, dict):
        return {key[0].upper() + key[1:].replace("iGroup", "IGroup"): v for key, v in found.items()}
    return found

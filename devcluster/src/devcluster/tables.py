"""Tables for ``kubectl get``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devcluster.kinds import Kind

__all__ = ["TableMaker"]

JsonObject = dict[str, Any]


class TableMaker:
    """Makes ``meta.k8s.io`` Tables."""

    def table(
        self,
        kind: Kind,
        objects: Sequence[JsonObject],
        *,
        meta: Mapping[str, Any],
        include: str,
        version: str,
    ) -> JsonObject:
        """A Table of ``objects``; ``include`` is the query's includeObject."""
        del kind
        rows = [
            {
                "cells": [obj["metadata"]["name"], obj["metadata"]["creationTimestamp"]],
                "object": _included(obj, include, version),
            }
            for obj in objects
        ]
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": dict(meta),
            "columnDefinitions": [
                _column("Name", "string", "name"),
                _column("Created At", "date", ""),
            ],
            "rows": rows,
        }


def _column(name: str, kind: str, form: str) -> JsonObject:
    return {"name": name, "type": kind, "format": form, "description": "", "priority": 0}


def _included(obj: JsonObject, include: str, version: str) -> JsonObject | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj["metadata"],
    }

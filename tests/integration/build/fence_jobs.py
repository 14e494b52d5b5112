"""What Go's own threads can reach once the worker of the engine is fenced."""

from __future__ import annotations

import os
from typing import Any

import helm_python

from fluvial.build.helm import job

__all__ = ["run"]


def run(method: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Let the library read a file, or connect, which rendering never does."""
    if method == "environment":
        return {"names": sorted(os.environ)}
    if method == "render":
        return job.run(method, payload)
    try:
        if method == "read":
            return {"said": helm_python.digest(payload["path"])}
        helm_python.repo_index(payload["url"])
    except helm_python.HelmError as error:
        return {"refused": str(error)}
    return {"said": "connected"}

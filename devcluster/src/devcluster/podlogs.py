"""What a container has written: nothing runs here, so the pod says it itself.

The annotation ``devcluster.fluvial.dev/log`` of a Pod is the log of all its containers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster import errors
from devcluster.kinds import Kind

__all__ = ["LOG", "is_log", "log_of"]

JsonObject = dict[str, Any]
LOG = "devcluster.fluvial.dev/log"


def is_log(kind: Kind, subresource: str) -> bool:
    """Whether a path names a pod's log; discovery does not tell of it."""
    return subresource == "log" and kind.table == ("", "pods")


def log_of(pod: JsonObject, query: Mapping[str, str]) -> bytes:
    """The lines that are asked for.

    Args:
        pod: as it is stored.
        query: ``container``, ``tailLines`` and ``limitBytes`` count.

    """
    _check_container(pod, query.get("container", ""))
    text = (pod["metadata"].get("annotations") or {}).get(LOG, "")
    lines = text.splitlines(keepends=True)
    tail = _number(query, "tailLines")
    if tail is not None:
        lines = lines[len(lines) - min(tail, len(lines)) :]
    body = "".join(lines).encode()
    return body[: _number(query, "limitBytes")]


def _check_container(pod: JsonObject, wanted: str) -> None:
    name, spec = pod["metadata"]["name"], pod["spec"]
    listed = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    names = [one["name"] for one in listed]
    if wanted and wanted not in names:
        raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
    if not wanted and len(names) > 1:
        choices = " ".join(names)
        text = f"a container name must be specified for pod {name}, choose one of: [{choices}]"
        raise errors.bad_request(text)


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else None

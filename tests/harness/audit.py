"""Reading a request log: did every request have the identity that it must have?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["own_identity_is_enough", "unjustified"]

_DISCOVERY = re.compile(r"^/(api|apis|version|openapi|livez|healthz|readyz)(/|$)")
_FLUX = re.compile(
    r"^/apis/((source|kustomize|helm|notification)\.toolkit|source\.extensions)\.fluxcd\.io/"
    r"v(1(beta[13])?|2)/"
)
_REFERRED = re.compile(r"^/api/v1/namespaces/[^/]+/(configmaps|secrets|serviceaccounts)/[^/]+$")
_TOKEN = re.compile(r"^/api/v1/namespaces/[^/]+/serviceaccounts/[^/]+/token$")
_OWN = re.compile(r"/(events|leases)(/[^/]+)?$")


def unjustified(entries: Iterable[Mapping[str, Any]], *, agents: tuple[str, ...]) -> list[str]:
    """Requests of the controllers that should have been made as the tenant and were not.

    Args:
        entries: of devcluster's request log.
        agents: how the user agents of the controllers begin.

    """
    return [
        f"{entry['method']} {entry['path']}?{entry['query']}"
        for entry in entries
        if entry["agent"].startswith(agents)
        and not entry["impersonated"]
        and not own_identity_is_enough(entry)
    ]


def own_identity_is_enough(entry: Mapping[str, Any]) -> bool:
    """Whether a request may be made under the controller's own identity.

    Discovery, Flux objects, Events and Leases; metadata-only lists and watches; reading a
    ConfigMap, Secret or ServiceAccount by name; a token of a ServiceAccount for somewhere else.
    """
    path, verb = entry["path"], entry["verb"]
    if _FLUX.match(path) or _OWN.search(path):
        return True
    if verb in {"list", "watch"} and entry["metadata_only"]:
        return True
    if (verb == "get" and _REFERRED.match(path)) or (verb == "create" and _TOKEN.match(path)):
        return True
    depth = path.strip("/").count("/")
    is_discovery = depth <= (1 if path.startswith("/api/") else 2)
    return entry["method"] == "GET" and bool(_DISCOVERY.match(path)) and is_discovery

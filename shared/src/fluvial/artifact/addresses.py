"""Whose artifact an address means.

A status can be forged by whoever may write it, and the file server asks nobody who they are: an
address that a source's status gives is believed only if it is of that source's own folder.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import yarl

from fluvial.objects import ObjectKey

__all__ = ["is_of_another_namespace", "is_own_address"]

_STORED = frozenset(
    {"bucket", "externalartifact", "gitrepository", "helmchart", "helmrepository", "ocirepository"}
)


def is_own_address(url: str, kind: str, key: ObjectKey) -> bool:
    """Whether an address ends in <kind>/<namespace>/<name>/<file>, as storage has it.

    Args:
        url: of an artifact.
        kind: of the source whose status it is in; in any case.
        key: of that source.

    """
    try:
        path = urlsplit(url).path
    except ValueError:
        return False
    folder, _, file = path.rpartition("/")
    own = f"/{kind.lower()}/{key.namespace}/{key.name}"
    return folder.endswith(own) and file not in {"", ".", ".."} and "%" not in path


def is_of_another_namespace(url: str, namespace: str) -> bool:
    """Whether an address is that of a stored artifact of an object in another namespace.

    An ExternalArtifact may be served by anybody, under any address. But what is in the storage of
    a source controller is not for whoever can write one: the file server asks nobody who they are.

    Args:
        url: of an artifact; one that cannot be read counts as another's.
        namespace: of the object whose status it is in.

    """
    try:
        path = yarl.URL(url).path  # as it is sent: decoded, without detours
    except ValueError:
        return True
    parts = [part for part in path.split("/") if part]
    return len(parts) >= 4 and parts[-4] in _STORED and parts[-3] != namespace

"""Whose artifact an address means.

A status can be forged by whoever may write it, and the file server asks nobody who they are: an
address that a source's status gives is believed only if it is of that source's own folder.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fluvial.objects import ObjectKey

__all__ = ["is_own_address"]


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

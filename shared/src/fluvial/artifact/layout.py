"""Where in a storage things are, and at which address: ``<kind>/<namespace>/<name>/<file>``."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from fluvial.api.meta import Artifact
from fluvial.artifact.errors import UnsafeArchive
from fluvial.objects import ObjectKey
from fluvial.paths import secure_join

__all__ = ["Layout"]

_UNSAFE_SEGMENT = re.compile(r"[/\\\x00-\x1f\x7f]")


class Layout:
    """Paths and addresses of one storage.

    Args:
        base: the folder.
        adv_addr: host and port, or a URL prefix, under which consumers reach the file server.

    """

    def __init__(self, base: Path, *, adv_addr: str) -> None:
        self.base = base
        self.adv_addr = adv_addr

    def relative_path(self, kind: str, key: ObjectKey, filename: str = "") -> str:
        """``gitrepository/<namespace>/<name>/<file>``.

        Raises:
            UnsafeArchive: a part is empty, starts with a dot or has a slash or control characters.

        """
        parts = [kind.lower(), key.namespace, key.name, *([filename] if filename else [])]
        for part in parts:
            if not part or part.startswith(".") or _UNSAFE_SEGMENT.search(part):
                raise UnsafeArchive(f"{part[:100]!r} cannot be part of a storage path")
        return "/".join(parts)

    def local_path(self, artifact: Artifact) -> Path:
        """Where an artifact's file is or would be, inside the base whatever its path says."""
        return secure_join(self.base, artifact.path)

    def is_of(self, artifact: Artifact, kind: str, key: ObjectKey) -> bool:
        """Whether an artifact's path is one of this object's own.

        A status can be forged by whoever may write it: ask before an artifact that was read from
        one is checked, served, unpacked or deleted.
        """
        folder, _, file = artifact.path.lstrip("/").rpartition("/")
        return folder == self.relative_path(kind, key) and file not in {"", ".", ".."}

    def url_for(self, path: str) -> str:
        """The address consumers load a path from."""
        address = self.adv_addr.rstrip("/")
        if not address.startswith(("http://", "https://")):
            address = f"http://{address}"
        return f"{address}/{path}"

    def with_current_url(self, artifact: Artifact) -> Artifact:
        """The artifact with the address at which this process serves it."""
        url = self.url_for(artifact.path.lstrip("/"))
        if url == artifact.url:
            return artifact
        return msgspec.structs.replace(artifact, url=url)

"""Helm charts made of texts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

__all__ = ["chart", "packed"]


def chart(*, name: str = "app", version: str = "1.0.0", more: str = "", **files: str) -> bytes:
    """A chart's archive.

    Args:
        name: of the chart.
        version: of the chart.
        more: lines of Chart.yaml.
        files: content by name, where ``__`` stands for ``/`` and the rest of the name has no
            suffix for a template: ``templates__a`` is ``templates/a.yaml``.

    """
    content = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n{more}"}
    for key, text in files.items():
        path = key.replace("__", "/")
        content[path if "." in path else f"{path}.yaml"] = text
    return packed(content, folder=name)


def packed(files: Mapping[str, str | bytes], *, folder: str = "app") -> bytes:
    """A gzipped tar archive of these files in a folder."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as archive:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(f"{folder}/{path}" if folder else path)
            member.size, member.mtime = len(data), 1_700_000_000
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()

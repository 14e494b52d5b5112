"""The examples of the pages in ``docs/spec``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from fluvial.objects import JsonObject

__all__ = ["examples"]


def examples(page: Path, *, namespace: tuple[str, str] = ("", "")) -> list[JsonObject]:
    """Every document of every YAML block of a page.

    Args:
        page: the file.
        namespace: a name in it, and what takes its place.

    """
    text = page.read_text()
    if namespace[0]:
        text = text.replace(*namespace)
    blocks: list[str] = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    documents: list[Any] = [one for block in blocks for one in yaml.safe_load_all(block)]
    return [one for one in documents if isinstance(one, dict) and "kind" in one]

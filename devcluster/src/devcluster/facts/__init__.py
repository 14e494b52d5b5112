"""What the built-in kinds look like: structure and encoding, generated, without prose.

``devcluster/tools/make_facts.py`` writes the two files. They are read once, on first use.
"""

from __future__ import annotations

import functools
import gzip
import importlib.resources
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["Facts", "load"]


@dataclass(frozen=True, slots=True)
class Facts:
    """The decoded files.

    Attributes:
        kinds: ``"apps/v1/Deployment"`` (or ``"v1/Pod"``) to the name of its type.
        types: type name to its description; see ``fields.schema`` for the form.
        encoding: type name to field to ``"rule gotype"``; see ``fields.schema``.

    """

    kinds: dict[str, str]
    types: dict[str, Any]
    encoding: dict[str, dict[str, str]]


@functools.cache
def load() -> Facts:
    """The facts of this release; about 10 ms the first time, nothing after."""
    structure = _read("openapi.json.gz")
    return Facts(
        kinds=structure["kinds"], types=structure["types"], encoding=_read("encoding.json.gz")
    )


def _read(name: str) -> Any:
    return orjson.loads(
        gzip.decompress(importlib.resources.files(__name__).joinpath(name).read_bytes())
    )

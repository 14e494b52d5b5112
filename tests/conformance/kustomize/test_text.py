"""Objects are written in the very text that kustomize prints, which is what gets substituted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import corpus
from fluvial.build import yaml

pytestmark = pytest.mark.slow

_FOLDERS = ("kustomize", "krusty")
_FILES = [
    case / "expected.yaml"
    for folder in _FOLDERS
    for case in sorted(corpus.require(folder).iterdir())
    if (case / "expected.yaml").exists()
]
_SOME = _FILES if os.environ.get("FLUVIAL_CORPUS") == "all" else _FILES[::5]


@pytest.mark.parametrize("file", _SOME, ids=lambda file: file.parent.name)
def test_reading_and_writing_gives_the_same_text(file: Path) -> None:
    data = file.read_bytes()

    documents = yaml.load_all(data)

    assert b"---\n".join(yaml.dump(document) for document in documents).strip() == data.strip()

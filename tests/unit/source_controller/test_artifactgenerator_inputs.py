"""What an artifact is made of: a digest that never stays the same where the artifact would not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluvial.api.codec import decode
from fluvial.api.source_extensions import CopyOperation
from source_controller.artifactgenerator.inputs import input_digest
from source_controller.artifactgenerator.tree import SourceTree

FILES = {"web/a.yaml": "1", "web/sub/b.yaml": "2", "api/a.yaml": "3", "a.tgz": "4", "b.txt": "5"}
OPERATIONS = [
    {"from": "@s/web/**", "to": "@artifact/"},
    {"from": "@s/*.tgz", "to": "@artifact/", "strategy": "Extract"},
]


def plant(root: Path) -> Path:
    for path, text in FILES.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def digest(root: Path, operations: list[dict[str, Any]] | None = None) -> str:
    copy = [decode(one, CopyOperation) for one in operations or OPERATIONS]
    return input_digest(copy, {"s": SourceTree(root)})


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "web/a.yaml").write_text("new"),
        lambda root: (root / "web/sub/b.yaml").write_text("new"),
        lambda root: (root / "web/sub/b.yaml").chmod(0o755),
        lambda root: (root / "web/sub/new").mkdir(),
        lambda root: (root / "web/sub/c.yaml").touch(),
        lambda root: (root / "web/a.yaml").unlink(),
        lambda root: (root / "web/a.yaml").rename(root / "web/b.yaml"),
        lambda root: (root / "a.tgz").write_text("new"),
        lambda root: (root / "c.tgz").touch(),
    ],
    ids=["file", "deep", "mode", "folder", "added", "gone", "renamed", "archive", "archives"],
)
def test_what_is_read_counts(tmp_path: Path, change: Callable[[Path], object]) -> None:
    before = digest(plant(tmp_path))
    change(tmp_path)

    assert digest(tmp_path) != before


@pytest.mark.parametrize(
    "operations",
    [
        [OPERATIONS[0]],
        OPERATIONS[::-1],
        [{**OPERATIONS[0], "to": "@artifact/x/"}, OPERATIONS[1]],
        [{**OPERATIONS[0], "strategy": "Merge"}, OPERATIONS[1]],
        [{**OPERATIONS[0], "exclude": ["*.md"]}, OPERATIONS[1]],
    ],
    ids=["fewer", "order", "to", "strategy", "exclude"],
)
def test_operations_count(tmp_path: Path, operations: list[dict[str, Any]]) -> None:
    plant(tmp_path)

    assert digest(tmp_path, operations) != digest(tmp_path)


def test_what_is_not_read_does_not_count(tmp_path: Path) -> None:
    before = digest(plant(tmp_path))
    (tmp_path / "api/a.yaml").write_text("new")
    (tmp_path / "b.txt").unlink()
    (tmp_path / "c.txt").touch()

    assert digest(tmp_path) == before


@pytest.mark.parametrize(
    "operation",
    [
        {"from": "@other/x", "to": "@artifact/"},
        {"from": "@s/../x", "to": "@artifact/"},
        {"from": "@s/[", "to": "@artifact/"},
        {"from": "@s/[", "to": "@artifact/", "strategy": "Extract"},
    ],
)
def test_what_cannot_be_done_has_none(tmp_path: Path, operation: dict[str, Any]) -> None:
    plant(tmp_path)

    assert digest(tmp_path, [operation]) == ""

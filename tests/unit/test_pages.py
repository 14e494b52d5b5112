"""What pages and docstrings refer to is in this repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # they read every page and module

ROOT = Path(__file__).parents[2]
SHORT = {
    "unit/": "tests/unit/",
    "int/": "tests/integration/",
    "integration/": "tests/integration/",
    "src/": "tests/integration/source_controller/",
    "usrc/": "tests/unit/source_controller/",
    "e2e/": "tests/e2e/",
    "chaos/": "tests/chaos/",
}
_PYTHON = re.compile(r"`([\w/-]+\.py)`")
_PAPERS = re.compile(r"\b(FKH|FSN|DESIGN|HOUSE-STYLE)\b")


def _there(name: str) -> bool:
    candidates = [name, *(full + name[len(short) :] for short, full in SHORT.items())]
    if any((ROOT / candidate).is_file() for candidate in candidates):
        return True
    return any(ROOT.glob(f"*/src/**/{name}")) or any(ROOT.glob(f"tests/**/{name}"))


def test_modules_and_tests_that_pages_name_are_there() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    named = {(page, name) for page in pages for name in _PYTHON.findall(page.read_text("utf-8"))}

    assert len(named) > 100
    assert sorted(f"{page.name}: {name}" for page, name in named if not _there(name)) == []


def test_docstrings_refer_to_nothing_that_a_reader_cannot_have() -> None:
    modules = [path for part in ("*/src/**/*.py", "bench/**/*.py") for path in ROOT.glob(part)]
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in modules
        if (match := _PAPERS.search(path.read_text("utf-8")))
    ]

    assert len(modules) > 300
    assert found == []

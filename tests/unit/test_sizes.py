"""A module is a room: 400 lines, 600 at the very most; a function is a step: 80 lines."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USUAL, CAP, FUNCTION_CAP = 400, 600, 80

LARGER: dict[str, str] = {
    "devcluster/src/devcluster/fields/builtin/core.py": "one table: the rules of the core kinds",
    "devcluster/src/devcluster/fields/builtin/defaults.py": "one table: defaults by Go type",
    "devcluster/src/devcluster/fields/builtin/workloads.py": "one table: the rules of workloads",
    "shared/src/fluvial/kube/http.py": "the verbs of one protocol",
    "shared/src/fluvial/runtime/manager.py": "one life cycle, read from top to bottom",
}
"""Modules of the product between 400 and 600 lines, each with its reason."""


def _modules(*patterns: str) -> list[Path]:
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert found
    return found


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def test_modules_of_the_product_are_small_or_listed_with_a_reason() -> None:
    large = {
        str(path.relative_to(ROOT)) for path in _modules("*/src/**/*.py") if _lines(path) > USUAL
    }

    assert large == set(LARGER)


def test_no_module_is_larger_than_the_cap() -> None:
    modules = _modules("*/src/**/*.py", "tests/**/*.py", "bench/**/*.py")

    assert [str(path) for path in modules if _lines(path) > CAP] == []


def test_no_function_is_longer_than_the_cap() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{name}"
        for path in _modules("*/src/**/*.py", "tests/**/*.py", "bench/**/*.py")
        for name, lines in _functions(path.read_text(encoding="utf-8"))
        if lines > FUNCTION_CAP
    ]

    assert long == []


@pytest.mark.parametrize("lines", [FUNCTION_CAP, FUNCTION_CAP + 1])
def test_the_check_counts_a_function_without_its_docstring(lines: int) -> None:
    body = "    pass\n" * (lines - 1)
    text = f'def f():\n    """One.\n\n    Two.\n    """\n{body}'

    assert list(_functions(text)) == [("f", lines)]


def _functions(text: str) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or 0) - node.lineno + 1
        first = node.body[0]
        if ast.get_docstring(node, clean=False) is not None:
            lines -= (first.end_lineno or 0) - first.lineno + 1
        found.append((node.name, lines))
    return found

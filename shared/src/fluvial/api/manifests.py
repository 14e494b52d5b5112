"""Write the CustomResourceDefinitions, or check the files that are there.

python -m fluvial.api.manifests charts/fluvial/crds            # write
python -m fluvial.api.manifests charts/fluvial/crds --check    # compare, exit 1 on a difference
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from fluvial.api import crd

__all__ = ["differences", "main", "render"]

_HEADER = "# Generated from the models in fluvial.api by `make manifests`; do not edit.\n"


def render() -> dict[str, str]:
    """File name to content, for every kind."""
    return {
        f"{kind.name}.yaml": _HEADER
        + yaml.safe_dump(crd.crd(kind), sort_keys=False, width=100, allow_unicode=True)
        for kind in crd.KINDS
    }


def differences(folder: Path) -> Iterator[str]:
    """One sentence for each file in ``folder`` that is missing, old, or of no kind."""
    expected = render()
    for name, content in expected.items():
        path = folder / name
        if not path.is_file():
            yield f"{path} is missing: run `make manifests`"
        elif path.read_text(encoding="utf-8") != content:
            yield f"{path} differs from the models: run `make manifests`"
    for path in sorted(folder.glob("*.yaml")):
        if path.name not in expected:
            yield f"{path} belongs to no kind: delete it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fluvial.api.manifests", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    if options.check:
        problems = list(differences(folder))
        sys.stderr.writelines(f"{problem}\n" for problem in problems)
        return 1 if problems else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in render().items():
        (folder / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

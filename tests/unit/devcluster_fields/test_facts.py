"""The committed facts are what the generator makes of the published packages."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

import devcluster.facts
from devcluster.fields.schema import SchemaSet

ROOT = Path(__file__).parents[3]
FACTS = Path(devcluster.facts.__file__).parent


def generator() -> ModuleType:
    path = ROOT / "devcluster" / "tools" / "make_facts.py"
    spec = importlib.util.spec_from_file_location("make_facts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def go_modules() -> Path | None:
    folder = os.environ.get("GOMODCACHE") or str(Path.home() / "go" / "pkg" / "mod")
    try:
        found = subprocess.run(
            ["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True, timeout=20
        )
        folder = found.stdout.strip() or folder
    except (OSError, subprocess.SubprocessError):
        pass
    path = Path(folder) / "k8s.io"
    return path if (path / "api@v0.37.2").is_dir() else None


@pytest.mark.slow
def test_the_structure_is_what_the_published_package_says() -> None:
    pytest.importorskip("kubernetes_validate")
    made = generator()

    assert made.to_bytes(made.openapi_facts()) == (FACTS / "openapi.json.gz").read_bytes()


@pytest.mark.slow
def test_the_encoding_is_what_the_published_go_types_say() -> None:
    pytest.importorskip("kubernetes_validate")
    modules = go_modules()
    if modules is None:
        pytest.skip("the Go modules of k8s.io v0.37.2 are not on this machine")
    made = generator()
    facts = made.encoding_facts(made.openapi_facts(), modules)

    assert made.to_bytes(facts) == (FACTS / "encoding.json.gz").read_bytes()


def test_every_field_of_every_struct_has_an_encoding_rule() -> None:
    facts = devcluster.facts.load()
    missing = [
        (name, field)
        for name, described in facts.types.items()
        if isinstance(described, dict) and "f" in described
        for field in described["f"]
        if field not in facts.encoding[name]
    ]

    assert missing == []


def test_a_kind_that_is_not_described_has_no_schema() -> None:
    assert SchemaSet.builtin().for_kind("apps", "v1", "Nothing") is None
    assert SchemaSet.builtin().for_kind("apps", "v1beta1", "Deployment") is None


def test_the_core_group_has_no_group_in_its_version() -> None:
    schema = SchemaSet.builtin().for_kind("", "v1", "ConfigMap")

    assert schema is not None
    assert schema.api_version == "v1"
    assert schema.builtin

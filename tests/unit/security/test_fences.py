"""Where the kernel keeps less, less is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluvial.build.errors import RefusedInput
from fluvial.build.generate import RootKustomization
from fluvial.build.kustomize import KubectlEngine
from fluvial.build.scan import scan


@pytest.mark.parametrize(("version", "fenced"), [(0, False), (1, False), (3, False), (4, True)])
def test_a_landlock_that_does_not_keep_connections_is_no_fence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, version: int, fenced: bool
) -> None:
    """Files could not be read, but a transformer could still fetch an internal address."""
    monkeypatch.setattr("fluvial.build.kustomize.landlock_version", lambda: version)

    assert KubectlEngine(tmp_path).fenced is fenced


REMOTE = [
    "https://github.com/x/y",
    "https://github.com/x/y//deploy?ref=v1",
    "https://example.com/x.yaml",
    "HTTPS://example.com/x.yaml",
    "http://169.254.169.254/latest/meta-data",
    "git@github.com:x/y",
    "git@github.com:x/y.git//deploy?ref=v1",
    "ssh://git@example.com/x/y",
    "git::ssh://example.com/x/y",
    "git::https://example.com/x/y",
    "git::file:///etc",
    "git::/etc",
    "hg::http://example.com/x/y",
    "s3::https://s3.amazonaws.com/x/y",
    "file:///etc",
    "file:///etc//x?ref=y",
    "github.com/x/y",
    "github.com/x/y?ref=v1",
    "gitlab.com/x/y.git",
    "example.com/x/y.git//deploy?ref=v1",
    "org-12345@github.com:x/y",
    "user@host.example:x/y.git",
    "/etc/passwd",
    "/proc/self/environ",
    "../../etc",
    "a/../../etc",
    "./../x",
    "a\0b",
]


@pytest.mark.parametrize("fenced", [True, False])
@pytest.mark.parametrize("entry", REMOTE)
@pytest.mark.parametrize("field", ["resources", "components", "bases"])
def test_nothing_but_what_is_in_the_artifact(
    tmp_path: Path, *, field: str, entry: str, fenced: bool
) -> None:
    start = RootKustomization("apps", "apps/kustomization.yaml", {field: [entry]})
    (tmp_path / "apps").mkdir()

    with pytest.raises(Exception, match=r"refused|outside|does not exist"):
        scan(tmp_path, start, fenced=fenced)


FILES = [
    {"patches": [{"path": "ENTRY"}]},
    {"patchesStrategicMerge": ["ENTRY"]},
    {"patchesJson6902": [{"path": "ENTRY", "target": {"kind": "X", "name": "x"}}]},
    {"replacements": [{"path": "ENTRY"}]},
    {"configurations": ["ENTRY"]},
    {"crds": ["ENTRY"]},
    {"openapi": {"path": "ENTRY"}},
    {"generators": ["ENTRY"]},
    {"transformers": ["ENTRY"]},
    {"validators": ["ENTRY"]},
    {"configMapGenerator": [{"name": "x", "files": ["k=ENTRY"]}]},
    {"configMapGenerator": [{"name": "x", "envs": ["ENTRY"]}]},
    {"secretGenerator": [{"name": "x", "env": "ENTRY"}]},
    {"ConfigMapGenerator": [{"Name": "x", "Files": ["ENTRY"]}]},
]


@pytest.mark.parametrize("entry", ["http://169.254.169.254/x", "/etc/passwd", "../../x"])
@pytest.mark.parametrize("content", FILES, ids=str)
def test_files_neither(tmp_path: Path, content: dict[str, object], entry: str) -> None:
    (tmp_path / "apps").mkdir()
    start = RootKustomization("apps", "apps/kustomization.yaml", _filled(content, entry))

    with pytest.raises(RefusedInput):
        scan(tmp_path, start, fenced=False)


@pytest.mark.parametrize(
    "content",
    [
        {"helmCharts": [{"name": "x", "repo": "https://example.com"}]},
        {"helmChartInflationGenerator": [{"chartName": "x"}]},
        {"helmGlobals": {"chartHome": "/etc"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("fenced", [True, False])
def test_helm_is_not_run(tmp_path: Path, *, content: dict[str, object], fenced: bool) -> None:
    start = RootKustomization(".", "kustomization.yaml", content)

    with pytest.raises(RefusedInput, match="do not run Helm"):
        scan(tmp_path, start, fenced=fenced)


def _filled(value: object, entry: str) -> dict[str, object]:
    def fill(node: object) -> object:
        if isinstance(node, dict):
            return {key: fill(item) for key, item in node.items()}
        if isinstance(node, list):
            return [fill(item) for item in node]
        return node.replace("ENTRY", entry) if isinstance(node, str) else node

    filled = fill(value)
    assert isinstance(filled, dict)
    return filled

"""Finding and building the control plane's programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane import build as module
from controlplane.build import PROGRAMS, BuildFailed, ControlPlaneMissing, build, find_binaries


def _program(file: Path, says: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)


def _all_programs(folder: Path) -> None:
    for name in PROGRAMS:
        _program(folder / name, "Kubernetes v9.8.7")


def test_assets_folder_is_used_and_its_version_read(tmp_path: Path) -> None:
    _all_programs(tmp_path)

    found = find_binaries({"KUBEBUILDER_ASSETS": str(tmp_path)})

    assert found.version == "v9.8.7"
    assert found.path("etcd") == tmp_path / "etcd"


def test_incomplete_assets_folder_names_what_is_missing(tmp_path: Path) -> None:
    _all_programs(tmp_path)
    (tmp_path / "kube-controller-manager").unlink()

    with pytest.raises(ControlPlaneMissing) as caught:
        find_binaries({"KUBEBUILDER_ASSETS": str(tmp_path)})

    assert str(caught.value) == (
        f"kube-controller-manager not found in KUBEBUILDER_ASSETS={tmp_path}"
    )


def test_empty_cache_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneMissing, match="`make control-plane` builds them"):
        find_binaries({"XDG_CACHE_HOME": str(tmp_path)})


def test_cache_folder_is_used_and_names_the_version(tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    folder = module.cache_folder(env)
    _all_programs(folder)

    assert find_binaries(env).folder == folder
    assert folder.parent == tmp_path / "fluvial" / "control-plane"
    assert folder.name.startswith("v1.")


def test_build_without_go_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BuildFailed, match="there is no `go` on PATH"):
        build(log_to_stderr=False)


def test_build_with_old_go_says_which_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path / "bin" / "go", "go1.19.5")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    with pytest.raises(BuildFailed, match=r"is go1\.19\.5; the control plane needs Go 1\.26"):
        build(log_to_stderr=False)


def test_failed_compile_leaves_no_half_built_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = '#!/bin/sh\n[ "$1" = env ] && echo go1.99 && exit 0\necho broken >&2; exit 1\n'
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "go").write_text(script)
    (tmp_path / "bin" / "go").chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    with pytest.raises(BuildFailed, match="broken"):
        build(log_to_stderr=False)

    assert not module.cache_folder().exists()
    assert [p.name for p in module.cache_folder().parent.iterdir() if p.is_dir()] == []


def test_build_renames_all_programs_into_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        '#!/bin/sh\n[ "$1" = env ] && echo go1.99 && exit 0\n'
        'for last; do if [ "$prev" = -o ]; then out="$last"; fi; prev="$last"; done\n'
        'printf \'#!/bin/sh\\necho Kubernetes v9.9.9\\n\' > "$out"; chmod +x "$out"\n'
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "go").write_text(script)
    (tmp_path / "bin" / "go").chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    built = build(log_to_stderr=False)

    assert built.version == "v9.9.9"
    assert sorted(p.name for p in built.folder.iterdir()) == sorted(PROGRAMS)

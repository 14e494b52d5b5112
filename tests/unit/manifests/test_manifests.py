"""The committed CRDs are those that the models make."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluvial.api import manifests

_FOLDER = Path(__file__).parents[3] / "charts" / "fluvial" / "crds"


def test_committed_files_are_current() -> None:
    assert list(manifests.differences(_FOLDER)) == []


def test_writing_then_checking_finds_nothing(tmp_path: Path) -> None:
    assert manifests.main([str(tmp_path / "crds")]) == 0
    assert manifests.main([str(tmp_path / "crds"), "--check"]) == 0
    assert len(list((tmp_path / "crds").iterdir())) == len(manifests.render())


def test_every_kind_of_difference_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests.main([str(tmp_path)])
    first, second, *_ = sorted(tmp_path.iterdir())
    first.unlink()
    second.write_text("changed")
    (tmp_path / "foreign.yaml").touch()

    code = manifests.main([str(tmp_path), "--check"])
    told = capsys.readouterr().err

    assert code == 1
    assert f"{first} is missing" in told
    assert f"{second} differs" in told
    assert "foreign.yaml belongs to no kind" in told

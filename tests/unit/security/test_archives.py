"""Archives and paths that are made to break their reader."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from fluvial.artifact import tar
from fluvial.artifact.errors import UnsafeArchive
from fluvial.paths import secure_join


def one_file(name: str, *, headers: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size, info.pax_headers = 1, headers or {}
        archive.addfile(info, io.BytesIO(b"x"))
    return out.getvalue()


def refused(data: bytes, folder: Path) -> str:
    with pytest.raises(UnsafeArchive) as caught:
        tar.unpack(io.BytesIO(gzip.compress(data)), folder / "out", tar.UnpackLimits())
    return str(caught.value)


@pytest.mark.parametrize("name", ["a" * 256, "a" * 256 + "/b", "ä" * 128])
def test_names_that_no_file_system_takes(tmp_path: Path, name: str) -> None:
    assert "too long" in refused(one_file(name), tmp_path)


def test_extended_headers_without_end(tmp_path: Path) -> None:
    archive = one_file("a", headers={"comment": "x"})

    assert "too many extended headers" in refused(archive[:1024] * 3_000 + archive, tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        {"size": "-100000000"},
        {"path": "a\0b"},
        {"path": "../b"},
        {"path": "/b"},
        {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": "9",
            "GNU.sparse.name": "../../b",
        },
    ],
    ids=["negative size", "NUL", "up", "absolute", "sparse name"],
)
def test_extended_headers_that_say_something_else(tmp_path: Path, headers: dict[str, str]) -> None:
    refused(one_file("a", headers=headers), tmp_path)

    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("path", ["a" * 5_000, "a/" * 2_000, "ä" * 200, "a\0b"])
def test_paths_that_no_file_system_takes(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match=r"too long|NUL"):
        secure_join(tmp_path, path)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../../etc", "link/x"])
def test_paths_stay_inside(tmp_path: Path, path: str) -> None:
    (tmp_path / "link").symlink_to("/etc")

    assert secure_join(tmp_path, path).is_relative_to(tmp_path)

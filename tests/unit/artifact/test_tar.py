"""Archives: what is written is reproducible, what is read is not trusted."""

from __future__ import annotations

import gzip
import io
import os
import socket
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.artifact import tar
from fluvial.artifact.errors import ArtifactTooLarge, UnsafeArchive

LIMITS = tar.UnpackLimits(max_bytes=1 << 20, max_file_bytes=1 << 19, max_entries=100)


def keep_all(*_: object) -> bool:
    return True


def packed(root: Path) -> tuple[bytes, tar.PackResult]:
    out = io.BytesIO()
    result = tar.pack(root, out, keep_all)
    return out.getvalue(), result


def make_tree(root: Path) -> None:
    (root / "b/empty").mkdir(parents=True)
    (root / "a.d").mkdir()
    (root / "a").mkdir()
    (root / "a/z").write_text("z")
    (root / "a.d/x").write_text("x")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "ä\udcff").write_text("odd name")
    (root / ("long-" * 30)).write_text("long name")


def archive_of(*members: tuple[tarfile.TarInfo, bytes], compress: bool = True) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    data = out.getvalue()
    return io.BytesIO(gzip.compress(data) if compress else data)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o644
    return info


def test_same_files_give_the_same_bytes_whatever_their_times_and_modes(tmp_path: Path) -> None:
    make_tree(tmp_path / "one")
    make_tree(tmp_path / "two")
    os.utime(tmp_path / "two/a/z", (1, 1))
    (tmp_path / "two/a/z").chmod(0o666)
    (tmp_path / "two/a").chmod(0o777)

    assert packed(tmp_path / "one") == packed(tmp_path / "two")


def test_entries_are_sorted_and_carry_no_owner_and_no_time(tmp_path: Path) -> None:
    make_tree(tmp_path / "one")
    data, result = packed(tmp_path / "one")
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        members = archive.getmembers()

    names = [m.name for m in members]
    assert names[0] == "."
    assert names[1:8] == ["a", "a/z", "a.d", "a.d/x", "b", "b/empty", "long-" * 30]
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}
    modes = {m.name: m.mode for m in members}
    assert (modes["a"], modes["a/z"], modes["run.sh"]) == (0o750, 0o600, 0o700)
    assert data[4:8] == b"\0\0\0\0", "no time in the gzip header"
    assert result.size == len(data)


def test_links_and_special_files_are_left_out_and_links_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub/link").symlink_to("/etc/passwd")
    (root / "folder-link").symlink_to("sub")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        monkeypatch.chdir(root)
        unix.bind("sock")
    (root / "file").write_text("x")
    data, result = packed(root)
    out = tar.unpack(io.BytesIO(data), tmp_path / "out", LIMITS)

    assert result.dropped_links == ("folder-link", "sub/link")
    assert out.dropped_links == ("folder-link", "sub/link")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["file", "sub"]


def test_what_is_not_kept_is_left_out_but_entered(tmp_path: Path) -> None:
    make_tree(tmp_path / "one")
    out = io.BytesIO()
    tar.pack(tmp_path / "one", out, lambda path, is_folder: path == "a/z")
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        assert archive.getnames() == [".", "a/z"]


def test_round_trip_keeps_content_programs_and_empty_folders(tmp_path: Path) -> None:
    make_tree(tmp_path / "one")
    data, _ = packed(tmp_path / "one")
    result = tar.unpack(io.BytesIO(data), tmp_path / "out", LIMITS)

    assert (tmp_path / "out/b/empty").is_dir()
    assert (tmp_path / "out/ä\udcff").read_text() == "odd name"
    assert (tmp_path / "out/run.sh").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "out/a/z").stat().st_mode & 0o777 == 0o600
    assert packed(tmp_path / "out")[0] == data
    assert result.files == 5


def test_packing_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1001)
    with pytest.raises(ArtifactTooLarge, match="1000 bytes"):
        tar.pack(tmp_path, io.BytesIO(), keep_all, max_bytes=1000)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        "..",
        "a\\b",
        "a\\..\\..\\x",
        "x" * 5000,
        "d/" * 200 + "x",
    ],
)
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeArchive):
        tar.unpack(archive_of((entry(name), b"x")), tmp_path / "out", LIMITS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize(
    "kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=["char", "block", "fifo"]
)
def test_special_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(UnsafeArchive, match="neither a file nor a folder"):
        tar.unpack(archive_of((entry("x", kind), b"")), tmp_path / "out", LIMITS)


def test_links_are_never_made_nor_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    result = tar.unpack(
        archive_of(
            (entry("soft", tarfile.SYMTYPE, str(tmp_path)), b""),
            (entry("hard", tarfile.LNKTYPE, "../victim"), b""),
            (entry("hard", tarfile.LNKTYPE, str(victim)), b""),
            (entry("soft/victim"), b"theirs"),
            (entry("hard"), b"theirs"),
        ),
        tmp_path / "out",
        LIMITS,
    )

    assert victim.read_text() == "mine"
    assert (tmp_path / "out/soft/victim").read_text() == "theirs"
    assert victim.stat().st_nlink == 1
    assert result.dropped_links == ("soft", "hard", "hard")


def test_later_entries_win_and_type_changes_are_refused(tmp_path: Path) -> None:
    tar.unpack(archive_of((entry("x"), b"1"), (entry("./x"), b"2")), tmp_path / "a", LIMITS)

    assert (tmp_path / "a/x").read_text() == "2"
    for number, members in enumerate(
        [
            [(entry("x"), b"1"), (entry("x/y"), b"2")],
            [(entry("x/y"), b"1"), (entry("x"), b"2")],
            [(entry("x"), b"1"), (entry("x", tarfile.DIRTYPE), b"")],
            [(entry("."), b"1")],
        ]
    ):
        with pytest.raises(UnsafeArchive, match="is a file and a folder"):
            tar.unpack(archive_of(*members), tmp_path / f"b{number}", LIMITS)


def test_hostile_modes_do_not_stick(tmp_path: Path) -> None:
    folder, program = entry("d", tarfile.DIRTYPE), entry("d/p")
    folder.mode, program.mode = 0, 0o6777
    tar.unpack(archive_of((folder, b""), (program, b"x")), tmp_path / "out", LIMITS)

    assert (tmp_path / "out/d").stat().st_mode & 0o7777 == 0o700
    assert (tmp_path / "out/d/p").stat().st_mode & 0o7777 == 0o700


def test_size_limits_hold_before_anything_is_written(tmp_path: Path) -> None:
    big = archive_of((entry("big"), b"x" * ((1 << 19) + 1)))
    with pytest.raises(ArtifactTooLarge):
        tar.unpack(big, tmp_path / "a", LIMITS)
    many = archive_of(*[(entry(f"f{i}"), b"x" * 400_000) for i in range(3)])
    with pytest.raises(ArtifactTooLarge):
        tar.unpack(many, tmp_path / "b", LIMITS)
    count = archive_of(*[(entry(f"f{i}"), b"") for i in range(101)])
    with pytest.raises(ArtifactTooLarge, match="100 entries"):
        tar.unpack(count, tmp_path / "c", LIMITS)

    assert list((tmp_path / "a").iterdir()) == []
    assert sum(p.stat().st_size for p in (tmp_path / "b").iterdir()) == 800_000


def test_a_gzip_bomb_behind_the_last_entry_is_stopped(tmp_path: Path) -> None:
    plain = archive_of((entry("x"), b"x"), compress=False).getvalue()
    bomb = io.BytesIO(gzip.compress(plain + b"\0" * (8 << 20), 9))
    with pytest.raises(ArtifactTooLarge):
        tar.unpack(bomb, tmp_path / "out", LIMITS)


def test_an_archive_that_grows_too_much_is_stopped(tmp_path: Path) -> None:
    """By its ratio, long before it reaches the limit on its size."""
    generous = tar.UnpackLimits(ratio_free=1 << 20)
    zeros = b"\0" * (16 << 20)
    with pytest.raises(ArtifactTooLarge, match="grows more than 400 times"):
        tar.unpack(archive_of((entry("zeros"), zeros)), tmp_path / "out", generous)

    written = sum(file.stat().st_size for file in (tmp_path / "out").rglob("*"))
    assert written < 8 << 20


def test_manifests_that_are_all_alike_are_no_bomb(tmp_path: Path) -> None:
    generous = tar.UnpackLimits(ratio_free=1 << 20)
    alike = b"".join(b"apiVersion: v1\nkind: ConfigMap\nname: c%d\n" % n for n in range(50_000))
    result = tar.unpack(archive_of((entry("alike.yaml"), alike)), tmp_path / "out", generous)

    assert result.size == len(alike)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_huge_extended_headers_are_not_read(tmp_path: Path, kind: bytes) -> None:
    info = entry("x", kind)
    info.size = 1 << 30
    data = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    with pytest.raises(UnsafeArchive, match="extended header"):
        tar.unpack(io.BytesIO(data), tmp_path / "out", LIMITS)


@pytest.mark.parametrize("cut", [1, 20, 200, 400])
def test_cut_archives_are_damaged(tmp_path: Path, cut: int) -> None:
    data = archive_of((entry("x"), os.urandom(4000))).getvalue()
    with pytest.raises(UnsafeArchive):
        tar.unpack(io.BytesIO(data[:-cut]), tmp_path / "out", LIMITS)


def test_a_changed_byte_is_noticed_by_the_checksum(tmp_path: Path) -> None:
    data = bytearray(archive_of((entry("x"), b"y" * 4000)).getvalue())
    data[-6] ^= 1
    with pytest.raises(UnsafeArchive):
        tar.unpack(io.BytesIO(bytes(data)), tmp_path / "out", LIMITS)


@given(st.binary(max_size=600))
def test_no_bytes_raise_anything_but_this_rooms_errors(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, stream in enumerate((data, gzip.compress(data))):
            target = Path(folder, str(number))
            try:
                result = tar.unpack(io.BytesIO(stream), target, LIMITS)
            except (UnsafeArchive, ArtifactTooLarge):
                continue
            assert result.files == sum(p.is_file() for p in target.rglob("*"))

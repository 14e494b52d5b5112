"""Copy operations: what stays out of an artifact, and what comes into it, and where."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fluvial.api.codec import decode
from fluvial.api.source_extensions import CopyOperation
from fluvial.artifact.tar import UnpackLimits
from source_controller.artifactgenerator.staging import Staging, StagingError
from source_controller.artifactgenerator.tree import SourceTree, UnsafePath, clean_path

SOURCE = {
    "deploy/app.yaml": "app",
    "deploy/notes.md": "notes",
    "deploy/base/values.yaml": "replicas: 1\nimage: {tag: a}\nlist: [1, 2]\n",
    "deploy/base/testdata/x.yaml": "x",
    "deploy/.hidden": "h",
    "run.sh*": "#!/bin/sh\n",
    "prod.yaml": "image: {pull: Always}\nlist: [3]\nreplicas: null\n",
}
Apply = Callable[..., dict[str, str]]


def plant(root: Path, files: Mapping[str, str | bytes]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        place = root / path.removesuffix("*")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        place.chmod(0o500 if path.endswith("*") else 0o400)
    return root


def content(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def tarball(files: Mapping[str, str], *, links: Mapping[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return out.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return plant(tmp_path / "source", SOURCE)


@pytest.fixture
def apply(tmp_path: Path, source: Path) -> Apply:
    """Do operations, each ``(from, to, other fields)``; the content of the artifact."""
    scratch, root = tmp_path / "scratch", tmp_path / "staged"
    scratch.mkdir()
    root.mkdir()

    def apply(*operations: tuple[Any, ...], limits: UnpackLimits | None = None) -> dict[str, str]:
        trees = {"src": SourceTree(source, ["deploy/link.yaml"])}
        staging = Staging(root, scratch=scratch, trees=trees, limits=limits or UnpackLimits())
        for from_, to, *rest in operations:
            fields = {"from": from_, "to": to, **(rest[0] if rest else {})}
            staging.apply(decode(fields, CopyOperation))
        assert not list(scratch.iterdir()), "nothing is left of what was unpacked"
        return content(root)

    return apply


# --- what must not be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a/../..",
        "/",
        "a\0b",
        "a" * 300,
        "a/" * 2000 + "b",
    ],
)
def test_a_path_that_leaves_its_root_is_refused(path: str) -> None:
    with pytest.raises(UnsafePath):
        clean_path(path)


@pytest.mark.parametrize(
    "from_",
    ["@src//etc/passwd", "@src/../secret", "@src/deploy/../../secret", "@src/..", "@other/a"],
)
def test_nothing_is_read_outside_the_source(apply: Apply, tmp_path: Path, from_: str) -> None:
    (tmp_path / "secret").write_text("secret")

    with pytest.raises(StagingError):
        apply((from_, "@artifact/"))


@pytest.mark.parametrize("strategy", ["Overwrite", "Extract", "Merge"])
@pytest.mark.parametrize("to", ["@artifact/../out", "@artifact//tmp/out", "@artifact/a/../../out/"])
def test_nothing_is_written_outside_the_artifact(
    apply: Apply, source: Path, tmp_path: Path, to: str, strategy: str
) -> None:
    plant(source, {"a.tgz": tarball({"a": "1"})})

    with pytest.raises(StagingError, match=r"leads out|not relative"):
        apply(("@src/a.tgz", to, {"strategy": strategy}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pattern", ["../*", "./*", "/*", "*/../*", "deploy//*", "*/"])
def test_a_pattern_matches_no_name_that_is_none(apply: Apply, pattern: str) -> None:
    with pytest.raises(StagingError, match="no file of the source matches"):
        apply((f"@src/{pattern}", "@artifact/"))


def test_links_in_a_tree_are_not_there(apply: Apply, source: Path) -> None:
    (source / "deploy/evil").symlink_to("/etc")
    (source / "deploy/evil.yaml").symlink_to("/etc/passwd")

    assert not [path for path in apply(("@src/deploy/**", "@artifact/")) if "evil" in path]
    for name in ("evil", "evil.yaml", "evil/passwd"):
        with pytest.raises(StagingError, match="not in the source"):
            apply((f"@src/deploy/{name}", "@artifact/"))


def test_a_link_that_artifacts_leave_out_is_named(apply: Apply) -> None:
    with pytest.raises(StagingError, match="is a link, which artifacts leave out"):
        apply(("@src/deploy/link.yaml", "@artifact/"))


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        (("@src/nothing.yaml", "@artifact/"), "not in the source"),
        (("@src/app.yaml/x", "@artifact/"), "not in the source"),
        (("@src/*.txt", "@artifact/"), "no file of the source matches"),
        (("@src/deploy/*.md", "@artifact/", {"exclude": ["*.md"]}), "is excluded"),
        (("@src/[", "@artifact/"), "a class is not closed"),
        (("@src/deploy/*", "@artifact/", {"exclude": ["{a"]}), "a brace is not closed"),
        (("@src/deploy/", "@artifact/", {"strategy": "Extract"}), "cannot be extracted"),
        (("@src/prod.yaml", "@artifact/", {"strategy": "Extract"}), "is no tarball"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_an_operation_that_cannot_be_done_says_why(
    apply: Apply, operation: tuple[Any, ...], problem: str
) -> None:
    with pytest.raises(StagingError, match=problem) as caught:
        apply(operation)
    assert repr(operation[0]) in str(caught.value)


def test_a_file_does_not_replace_a_folder(apply: Apply) -> None:
    with pytest.raises(StagingError, match="is a folder in the artifact"):
        apply(("@src/deploy/base/**", "@artifact/prod.yaml/"), ("@src/prod.yaml", "@artifact/"))


def test_a_folder_does_not_replace_a_file(apply: Apply) -> None:
    with pytest.raises(StagingError, match="is a file in the artifact"):
        apply(("@src/prod.yaml", "@artifact/x"), ("@src/deploy/**", "@artifact/x/y/"))


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (UnpackLimits(max_bytes=30), "more than 30 bytes are copied"),
        (UnpackLimits(max_file_bytes=5), "more than 5 bytes"),
        (UnpackLimits(max_entries=3), "more than 3 files"),
    ],
    ids=["bytes", "file", "entries"],
)
def test_what_is_copied_is_limited(apply: Apply, limits: UnpackLimits, problem: str) -> None:
    with pytest.raises(StagingError, match=problem):
        apply(("@src/deploy/**", "@artifact/"), limits=limits)


def test_what_is_overwritten_counts_too(apply: Apply) -> None:
    again = ("@src/deploy/app.yaml", "@artifact/")

    with pytest.raises(StagingError, match="more than 10 bytes"):
        apply(*[again] * 4, limits=UnpackLimits(max_bytes=10))


@pytest.mark.parametrize(
    "archive",
    [
        tarball({"../out": "x"}),
        tarball({"/out": "x"}),
        tarball({"a/../../out": "x"}),
        tarball({"a": "x"}, links={"b": "/etc/passwd"}),
        tarball({"a": "x" * 100_000}),
        tarball({f"{n}": "" for n in range(50)}),
        tarball({"a": "x"})[:-20],
        gzip.compress(bytes(10_000_000)),
        b"no archive",
    ],
    ids=["parent", "absolute", "through", "link", "large", "many", "cut", "bomb", "garbage"],
)
def test_a_hostile_tarball_is_refused(
    apply: Apply, source: Path, tmp_path: Path, archive: bytes
) -> None:
    plant(source, {"a.tgz": archive})
    limits = UnpackLimits(max_bytes=50_000, max_entries=40)

    with pytest.raises(StagingError):
        apply(("@src/a.tgz", "@artifact/", {"strategy": "Extract"}), limits=limits)
    assert not list(tmp_path.rglob("out"))
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    ("overlay", "problem"),
    [
        ("- a\n", "not a mapping"),
        ("a: [\n", "prod2.yaml"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n"
                for n in range(9)
            ),
            "alias",
        ),
        ("x" * (5 << 20), "too many to merge"),
    ],
    ids=["list", "malformed", "bomb", "large"],
)
def test_what_cannot_be_merged_is_refused(
    apply: Apply, source: Path, overlay: str, problem: str
) -> None:
    plant(source, {"prod2.yaml": overlay})
    base = ("@src/deploy/base/values.yaml", "@artifact/v.yaml")

    with pytest.raises(StagingError, match=problem):
        apply(base, ("@src/prod2.yaml", "@artifact/v.yaml", {"strategy": "Merge"}))


# --- what is to be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (("@src/prod.yaml", "@artifact/apps/app.yaml"), {"apps/app.yaml"}),
        (("@src/prod.yaml", "@artifact/apps/"), {"apps/prod.yaml"}),
        (("@src/prod.yaml", "@artifact/"), {"prod.yaml"}),
        (("@src/./deploy/../prod.yaml", "@artifact/./a//b"), {"a/b"}),
        (("@src/deploy/*.yaml", "@artifact/x"), {"x/deploy/app.yaml"}),
        (("@src/deploy/.h*", "@artifact/"), {"deploy/.hidden"}),
        (
            ("@src/deploy/base/", "@artifact/x/"),
            {"x/base/values.yaml", "x/base/testdata/x.yaml"},
        ),
        (("@src/deploy/base", "@artifact/"), {"base/values.yaml", "base/testdata/x.yaml"}),
        (("@src/deploy/base/**", "@artifact/"), {"values.yaml", "testdata/x.yaml"}),
        (
            ("@src/deploy/*/**", "@artifact/"),
            {"deploy/base/values.yaml", "deploy/base/testdata/x.yaml"},
        ),
        (("@src/**/values.yaml", "@artifact/"), None),
        (("@src/*/*/values.yaml", "@artifact/"), {"deploy/base/values.yaml"}),
        (("@src/d[a-f]ploy/app.????", "@artifact/"), {"deploy/app.yaml"}),
        (
            ("@src/deploy/", "@artifact/", {"exclude": ["*.md", "**/testdata/**", ".hidden"]}),
            {"deploy/app.yaml", "deploy/base/values.yaml"},
        ),
        (
            ("@src/deploy/**", "@artifact/", {"exclude": ["base/**", "deploy/.h*"]}),
            {"app.yaml", "notes.md"},
        ),
        (("@src/prod.yaml", "@artifact/", {"exclude": ["{prod,dev}.yaml"]}), set()),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_what_is_copied_where(
    apply: Apply, operation: tuple[Any, ...], expected: set[str] | None
) -> None:
    if expected is None:  # "**" in the middle is one folder, and here are two
        with pytest.raises(StagingError, match="no file"):
            apply(operation)
        return

    assert set(apply(operation)) == expected


def test_the_root_of_a_source_is_copied_as_it_is(apply: Apply) -> None:
    assert set(apply(("@src/", "@artifact/"))) == {path.removesuffix("*") for path in SOURCE}


def test_a_file_goes_into_a_folder_that_is_there(apply: Apply) -> None:
    result = apply(("@src/deploy/base", "@artifact/"), ("@src/prod.yaml", "@artifact/base"))

    assert "base/prod.yaml" in result


def test_what_comes_later_overwrites(apply: Apply) -> None:
    result = apply(("@src/prod.yaml", "@artifact/a"), ("@src/deploy/app.yaml", "@artifact/a"))

    assert result == {"a": "app"}


def test_programs_stay_programs(apply: Apply, tmp_path: Path) -> None:
    apply(("@src/run.sh", "@artifact/"), ("@src/prod.yaml", "@artifact/"))

    assert os.access(tmp_path / "staged/run.sh", os.X_OK)
    assert not os.access(tmp_path / "staged/prod.yaml", os.X_OK)


def test_values_are_merged_as_helm_merges_them(apply: Apply) -> None:
    result = apply(
        ("@src/deploy/base/values.yaml", "@artifact/values.yaml"),
        ("@src/prod.yaml", "@artifact/values.yaml", {"strategy": "Merge"}),
    )

    assert result == {
        "values.yaml": "image:\n  pull: Always\n  tag: a\nlist:\n- 3\nreplicas: null\n"
    }


def test_the_documents_of_a_file_are_merged_first(apply: Apply, source: Path) -> None:
    plant(source, {"many.yaml": "a: 1\nb: {c: 1}\n---\n---\nb: {d: 2}\n"})
    merge = ("@src/many.yaml", "@artifact/v.yaml", {"strategy": "Merge"})

    assert apply(merge, merge) == {"v.yaml": "a: 1\nb:\n  c: 1\n  d: 2\n"}


def test_merging_with_nothing_copies(apply: Apply) -> None:
    result = apply(("@src/prod.yaml", "@artifact/v.yaml", {"strategy": "Merge"}))

    assert result == {"v.yaml": SOURCE["prod.yaml"]}


def test_tarballs_are_extracted(apply: Apply, source: Path) -> None:
    plant(source, {"charts/a.tgz": tarball({"a/Chart.yaml": "a"})})
    plant(source, {"charts/deep/b.TAR.GZ": tarball({"./b/x": "b"}), "charts/c.txt": "no"})
    extract = {"strategy": "Extract"}

    assert apply(("@src/charts/a.tgz", "@artifact/one", extract)) == {"one/a/Chart.yaml": "a"}
    assert apply(("@src/charts/**/*", "@artifact/all", extract)) == {
        "one/a/Chart.yaml": "a",
        "all/a/Chart.yaml": "a",
        "all/b/x": "b",
    }


def test_excluded_tarballs_are_not_extracted(apply: Apply, source: Path) -> None:
    plant(source, {"a.tgz": tarball({"a": "1"}), "b.tgz": tarball({"b": "1"})})

    assert apply(("@src/*.tgz", "@artifact/", {"strategy": "Extract", "exclude": ["b*"]})) == {
        "a": "1"
    }

"""Which reference a spec means, given a remote's heads."""

from __future__ import annotations

import pytest

from fluvial.workers.errors import WorkerError
from source_controller.git.model import Reference, revision_of
from source_controller.git.refs import Wanted, choose

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
HEADS = {
    "refs/heads/main": A,
    "refs/heads/master": B,
    "refs/heads/feature/x": C,
    "refs/tags/v1.0.0": D,
    "refs/tags/v1.0.0^{}": C,
    "refs/tags/v1.2.0": B,
    "refs/tags/v2.0.0-rc.1": A,
    "refs/pull/1/head": D,
}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (Reference(), Wanted("master", ("refs/heads/master",), B)),
        (Reference(branch="feature/x"), Wanted("feature/x", ("refs/heads/feature/x",), C)),
        (Reference(tag="v1.0.0"), Wanted("v1.0.0", ("refs/tags/v1.0.0",), C)),
        (Reference(name="refs/pull/1/head"), Wanted("refs/pull/1/head", ("refs/pull/1/head",), D)),
        (
            Reference(name="refs/tags/v1.0.0^{}"),
            Wanted("refs/tags/v1.0.0^{}", ("refs/tags/v1.0.0",), C),
        ),
        (Reference(semver="*"), Wanted("v1.2.0", ("refs/tags/v1.2.0",), B)),
        (Reference(semver=">=1-0"), Wanted("v2.0.0-rc.1", ("refs/tags/v2.0.0-rc.1",), A)),
        (Reference(commit=A), Wanted("", ("refs/heads/main",), A)),
        (Reference(commit=A, branch="main"), Wanted("main", ("refs/heads/main",), A)),
        (
            Reference(commit=D, branch="main"),
            Wanted("main", ("refs/heads/main",), D, deep=True),
        ),
    ],
)
def test_choices(reference: Reference, expected: Wanted) -> None:
    assert choose(reference, HEADS) == expected


def test_a_commit_anywhere_needs_all_branches() -> None:
    wanted = choose(Reference(commit="e" * 40), HEADS)

    assert wanted.deep
    assert set(wanted.refs) == {name for name in HEADS if name.startswith("refs/heads/")}


def test_precedence_is_commit_name_tag_semver_branch() -> None:
    everything = {
        "commit": A,
        "name": "refs/pull/1/head",
        "tag": "v1.0.0",
        "semver": "*",
        "branch": "main",
    }
    labels = []
    for field in ("commit", "name", "tag", "semver", "branch"):
        labels.append(choose(Reference(**everything), HEADS).label)
        del everything[field]

    assert labels == ["main", "refs/pull/1/head", "v1.0.0", "v1.2.0", "main"]


@pytest.mark.parametrize(
    "reference",
    [
        Reference(branch="../../etc"),
        Reference(branch="a..b"),
        Reference(branch="a b"),
        Reference(branch="x:refs/heads/y"),
        Reference(branch="*"),
        Reference(tag="a\nb"),
        Reference(tag="-x~1"),
        Reference(name="/refs/heads/main"),
        Reference(name="refs/heads/"),
        Reference(name="refs/heads/x.lock"),
        Reference(name="refs//heads"),
        Reference(commit="main"),
        Reference(commit="a" * 39),
        Reference(semver=">>1"),
    ],
)
def test_names_that_are_no_references(reference: Reference) -> None:
    with pytest.raises(WorkerError) as caught:
        choose(reference, HEADS)
    assert caught.value.code == "InvalidReference"


@pytest.mark.parametrize(
    ("label", "commit", "expected"),
    [
        ("main", A, f"main@sha1:{A}"),
        ("", A, f"sha1:{A}"),
        ("refs/pull/1/head", A, f"refs/pull/1/head@sha1:{A}"),
        ("main", "a" * 64, f"main@<unknown>:{'a' * 64}"),
    ],
)
def test_revisions(label: str, commit: str, expected: str) -> None:
    assert revision_of(label, commit) == expected

"""Which of a remote's references a ``spec.ref`` means. Pure; the heads come from the remote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fluvial.api.source import DEFAULT_BRANCH
from fluvial.semver import InvalidVersion, Range, Version
from fluvial.workers.errors import WorkerError
from source_controller.git.model import Reference

__all__ = ["Wanted", "choose"]

PEELED = "^{}"
_HASH = re.compile(r"[0-9a-f]{40}")
_BAD_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^/|/$|\.lock(?:/|$)|(?:^|/)\.|\.$")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch.

    Attributes:
        label: what stands before ``@`` in the revision.
        refs: full names of the references to fetch; several only where the newest commit of
            tags of equal precedence decides.
        commit: the hash it must lead to, ``""`` if only fetching tells.
        deep: whole history is needed, because the commit may be anywhere in it.

    """

    label: str
    refs: tuple[str, ...]
    commit: str = ""
    deep: bool = False


def choose(reference: Reference, heads: Mapping[str, str]) -> Wanted:
    """Resolve a reference: commit before name before tag before semver before branch.

    Args:
        reference: of the spec.
        heads: the remote's references by full name; ``<tag>^{}`` is the commit of a tag object.

    Raises:
        WorkerError: code ``ReferenceNotFound`` or ``InvalidReference``, with what there is not.

    """
    if reference.commit:
        return _commit(reference, heads)
    if reference.name:
        return _name(reference.name, heads)
    if reference.tag:
        return _existing(f"refs/tags/{reference.tag}", heads, label=reference.tag)
    if reference.semver:
        return _semver(reference.semver, heads)
    branch = reference.branch or DEFAULT_BRANCH
    return _existing(f"refs/heads/{branch}", heads, label=branch)


def _commit(reference: Reference, heads: Mapping[str, str]) -> Wanted:
    commit = reference.commit.lower()
    if not _HASH.fullmatch(commit):
        raise WorkerError(
            "InvalidReference", f"{reference.commit[:100]!r} is not the full hash of a commit"
        )
    if reference.branch:
        branch = _existing(f"refs/heads/{reference.branch}", heads, label=reference.branch)
        return Wanted(branch.label, branch.refs, commit, deep=branch.commit != commit)
    tip = [name for name, head in heads.items() if head == commit and _is_branch(name)]
    if tip:
        return Wanted("", (tip[0],), commit)
    branches = tuple(filter(_is_branch, heads))
    if not branches:
        raise WorkerError("ReferenceNotFound", "the repository has no branches")
    return Wanted("", branches, commit, deep=True)


def _is_branch(name: str) -> bool:
    return name.startswith("refs/heads/")


def _name(name: str, heads: Mapping[str, str]) -> Wanted:
    return _existing(name.removesuffix(PEELED), heads, label=name)


def _existing(full: str, heads: Mapping[str, str], *, label: str) -> Wanted:
    if _BAD_NAME.search(full):
        raise WorkerError("InvalidReference", f"invalid reference name {full[:200]!r}")
    head = heads.get(full + PEELED) or heads.get(full)
    if head is None:
        raise WorkerError(
            "ReferenceNotFound",
            f"couldn't find remote ref {full!r}: check spec.ref, or push it first",
        )
    return Wanted(label, (full,), head)


def _semver(text: str, heads: Mapping[str, str]) -> Wanted:
    try:
        wanted = Range.parse(text)
    except InvalidVersion as error:
        raise WorkerError("InvalidReference", str(error)) from error
    found = [version for version in _versions(heads) if version in wanted]
    if not found:
        raise WorkerError("ReferenceNotFound", f"no match found for semver: {text[:200]}")
    best = max(found)
    ties = [version.text for version in found if version == best]
    refs = tuple(f"refs/tags/{tag}" for tag in sorted(ties))
    if len(refs) > 1:
        return Wanted("", refs)
    return Wanted(ties[0], refs, heads.get(refs[0] + PEELED) or heads[refs[0]])


def _versions(heads: Mapping[str, str]) -> list[Version]:
    versions = []
    for name in heads:
        tag = name.removeprefix("refs/tags/")
        if tag != name and not tag.endswith(PEELED) and not _BAD_NAME.search(name):
            try:
                versions.append(Version.parse_full(tag))
            except InvalidVersion:
                continue
    return versions

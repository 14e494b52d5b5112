"""Which files of a source stay out of its artifact.

The dialect is Flux's: gitignore's syntax with differences that manifests in the field rely on.
A pattern without a slash matches any single component of the path, so a match of a folder covers
what is below it. The last matching pattern decides, and ``!`` includes again even below an
excluded folder. ``**`` has its meaning only as a whole component. Wildcards are those of Go's
``path/filepath.Match``: ``[^a]`` negates and ``[!a]`` does not; a malformed pattern never matches.
A pattern from a ``.sourceignore`` file counts only below the folder of that file. As soon as there
is any pattern at all, the default list no longer applies, only the version-control list does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = [
    "DEFAULT_PATTERNS",
    "IGNORE_FILE",
    "VCS_PATTERNS",
    "Matcher",
    "Pattern",
    "glob_match",
    "load_patterns",
    "parse_lines",
    "source_filter",
]

IGNORE_FILE = ".sourceignore"
VCS_PATTERNS = (".git/", ".gitignore", ".gitmodules", ".gitattributes")
DEFAULT_PATTERNS = (
    *("*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip"),
    *(".github/", ".circleci/", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml"),
    *("cloudbuild.yaml", "codeship-services.yml", "codeship-steps.yml"),
    *("**/.goreleaser.yml", "**/.sops.yaml", "**/.flux.yaml"),
)
_MAX_LINE = 64 << 10
_MAX_FILE = 1 << 20
_ANY_FOLDERS = "**"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of an ignore file."""

    parts: tuple[str, ...]
    domain: tuple[str, ...] = ()
    includes: bool = False
    only_folders: bool = False

    @classmethod
    def parse(cls, line: str, domain: Sequence[str] = ()) -> Pattern:
        """Read one line that is neither blank nor a comment."""
        includes = line.startswith("!")
        text = line[1:] if includes else line
        if not text.endswith("\\ "):
            text = text.rstrip(" ")
        only_folders = text.endswith("/")
        if only_folders:
            text = text[:-1]
        return cls(tuple(text.split("/")), tuple(domain), includes, only_folders)

    def matches(self, path: Sequence[str], *, is_folder: bool) -> bool:
        """Whether the pattern says anything about a path, given by its components."""
        depth = len(self.domain)
        if len(path) <= depth or tuple(path[:depth]) != self.domain:
            return False
        below = path[depth:]
        if len(self.parts) == 1:
            return self._matches_component(below, is_folder)
        return self._matches_path(below, is_folder)

    def _matches_component(self, path: Sequence[str], is_folder: bool) -> bool:  # noqa: FBT001  # private
        for index, name in enumerate(path):
            if glob_match(self.parts[0], name):
                is_last = index == len(path) - 1
                return not (self.only_folders and is_last and not is_folder)
        return False

    def _matches_path(self, path: Sequence[str], is_folder: bool) -> bool:  # noqa: FBT001  # private
        at, matched, floating = 0, False, False
        for index, part in enumerate(self.parts):
            if part == "":
                floating = False
            elif part == _ANY_FOLDERS:
                if index == len(self.parts) - 1:
                    break
                floating = True
            elif _ANY_FOLDERS in part or at >= len(path):
                return False
            else:
                found = _find(part, path, at, floating=floating)
                if found < 0 and not floating:
                    return False
                matched, floating = found >= 0, False
                at = found + 1 if found >= 0 else len(path)
        whole = at >= len(path)
        return matched and not (self.only_folders and whole and not is_folder)


class Matcher:
    """An ordered list of patterns; the last that matches decides."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._reversed = tuple(reversed(patterns))

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        """Whether a path relative to the source's root stays out."""
        parts = path.split("/")
        for pattern in self._reversed:
            if pattern.matches(parts, is_folder=is_folder):
                return not pattern.includes
        return False


def parse_lines(text: str, domain: Sequence[str] = ()) -> list[Pattern]:
    """The patterns of an ignore file or of ``spec.ignore``."""
    patterns = []
    for raw in text.split("\n"):
        line = raw.removesuffix("\r")
        if len(line) > _MAX_LINE:
            break  # as a Go scanner does: what follows is not read
        if line.strip() and not line.startswith("#"):
            patterns.append(Pattern.parse(line, domain))
    return patterns


def load_patterns(root: Path) -> list[Pattern]:
    """The patterns of all ``.sourceignore`` files below ``root``, the outer before the inner."""
    patterns: list[Pattern] = []
    pending: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    while pending:
        folder, domain = pending.pop()
        patterns += parse_lines(_read(folder / IGNORE_FILE), domain)
        with os.scandir(folder) as entries:
            names = [
                e.name for e in entries if e.name != ".git" and e.is_dir(follow_symlinks=False)
            ]
        pending += [(folder / name, (*domain, name)) for name in sorted(names, reverse=True)]
    return patterns


def source_filter(root: Path, ignore: str | None) -> Callable[[str, bool], bool]:
    """What to keep of the source in ``root``: ``keep(relative path, is folder) -> bool``.

    Args:
        root: folder with the source and its ``.sourceignore`` files; read now, blocking.
        ignore: ``spec.ignore``, which comes after (and so beats) the files.

    """
    patterns = load_patterns(root) + parse_lines(ignore or "")
    standard = VCS_PATTERNS if patterns else VCS_PATTERNS + DEFAULT_PATTERNS
    matcher = Matcher([Pattern.parse(line) for line in standard] + patterns)

    def keep(path: str, is_folder: bool) -> bool:  # noqa: FBT001  # the shape tar.pack asks for
        return not matcher.excludes(path, is_folder=is_folder)

    return keep


def _read(path: Path) -> str:
    """Content of an ignore file, ``""`` where there is none; links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as stream:
        try:
            return stream.read(_MAX_FILE).decode(errors="surrogateescape")
        except OSError:
            return ""  # a folder of that name


def _find(part: str, path: Sequence[str], start: int, *, floating: bool) -> int:
    """Index of the component that ``part`` matches: at ``start``, or anywhere after it."""
    last = len(path) if floating else start + 1
    return next((at for at in range(start, last) if glob_match(part, path[at])), -1)


# --- wildcards ---------------------------------------------------------------------------------

_Accepts = Callable[[str], bool]
_STAR = None


@lru_cache(maxsize=4096)
def glob_match(pattern: str, name: str) -> bool:
    """Go's ``filepath.Match`` on one path component; a malformed pattern matches nothing.

    Time is at most the product of both lengths.
    """
    tokens = _compile(pattern)
    if tokens is None:
        return False
    token, at = 0, 0
    star, star_at = -1, 0
    while at < len(name):
        accepts = tokens[token] if token < len(tokens) else _reject
        if accepts is _STAR:
            star, star_at = token, at
            token += 1
        elif accepts(name[at]):
            token, at = token + 1, at + 1
        elif star >= 0:
            star_at += 1
            token, at = star + 1, star_at
        else:
            return False
    return all(rest is _STAR for rest in tokens[token:])


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> tuple[_Accepts | None, ...] | None:
    tokens: list[_Accepts | None] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            tokens.append(_STAR)
            at += 1
        elif char == "?":
            tokens.append(_any)
            at += 1
        elif char == "[":
            compiled = _compile_class(pattern, at + 1)
            if compiled is None:
                return None
            tokens.append(compiled[0])
            at = compiled[1]
        else:
            at += char == "\\"
            if at >= len(pattern):
                return None
            tokens.append(pattern[at].__eq__)
            at += 1
    return tuple(tokens)


def _compile_class(pattern: str, at: int) -> tuple[_Accepts, int] | None:
    """A character class whose ``[`` is before ``at``; also where it ends."""
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern[at : at + 1] == "]"):
        low = _class_char(pattern, at)
        if low is None:
            return None
        at, high = low[1], low
        if pattern[at : at + 1] == "-":
            upper = _class_char(pattern, at + 1)
            if upper is None:
                return None
            at, high = upper[1], upper
        ranges.append((low[0], high[0]))

    def accepts(char: str) -> bool:
        return any(low <= char <= high for low, high in ranges) != negated

    return accepts, at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int] | None:
    """One character of a class and where it ends; ``-`` and ``]`` must be escaped."""
    char = pattern[at : at + 1]
    if char in {"", "-", "]"}:
        return None
    if char == "\\":
        at += 1
        char = pattern[at : at + 1]
        if not char:
            return None
    return char, at + 1


def _any(_: str) -> bool:
    return True


def _reject(_: str) -> bool:
    return False

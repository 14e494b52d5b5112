"""``spec.pathPattern``: folders of a source, each of which makes artifacts of its own.

A capture such as ``{app}`` stands for one name or a part of one. Names of artifacts and labels get
what was captured in lower case, paths get it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import re2

from fluvial.api.source_extensions import CopyOperation, OutputArtifact
from fluvial.errors import FluvialError
from source_controller.artifactgenerator.tree import SourceTree

__all__ = [
    "MAX_ARTIFACTS",
    "PathPatternError",
    "Request",
    "check_pattern",
    "discover",
    "is_object_name",
    "render",
]

MAX_ARTIFACTS = 1000
"""Of one generator, however many folders match."""

_MAX_FOLDERS = 100 * MAX_ARTIFACTS  # that match the beginning of a pattern
_CAPTURE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_]*[A-Za-z0-9])?", re.ASCII)
_CAPTURE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)
_OBJECT_NAME = re.compile(
    r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII
)
_MAX_LABEL, _MAX_OBJECT_NAME = 63, 253


class PathPatternError(FluvialError):
    """The pattern, or what it found, cannot be used; somebody has to change one of them."""


@dataclass(frozen=True, slots=True)
class Request:
    """One artifact to make.

    Attributes:
        output: without captures.
        labels: what was captured, for the ExternalArtifact.

    """

    output: OutputArtifact
    labels: Mapping[str, str] = field(default_factory=dict)


def is_object_name(name: str) -> bool:
    """Whether Kubernetes takes it as the name of an object."""
    return len(name) <= _MAX_OBJECT_NAME and _OBJECT_NAME.fullmatch(name) is not None


def check_pattern(pattern: str) -> None:
    """Check the captures of a pattern, without its alias.

    Raises:
        PathPatternError: braces do not match, or a capture cannot be a label or is there twice.

    """
    seen = set()
    for is_capture, text in _pieces(pattern):
        if not is_capture:
            continue
        if text in seen:
            raise PathPatternError(f"pathPattern {pattern!r} has the capture {text!r} twice")
        if not _CAPTURE.fullmatch(text) or len(text) > _MAX_LABEL:
            raise PathPatternError(
                f"pathPattern {pattern!r}: the capture {text!r} cannot be the key of a label"
            )
        seen.add(text)


def discover(tree: SourceTree, pattern: str) -> list[tuple[str, dict[str, str]]]:
    """The folders that a checked pattern matches, each with what was captured.

    Raises:
        PathPatternError: more than ``MAX_ARTIFACTS`` match.

    """
    found: list[tuple[str, dict[str, str]]] = [("", {})]
    for name in pattern.split("/"):
        expression = _expression(name)
        found = [
            (entry.path, {**captured, **match.groupdict()})
            for above, captured in found
            for entry in tree.entries(above)
            if entry.is_folder and (match := expression.fullmatch(_name_of(entry.path)))
        ]
        if len(found) > _MAX_FOLDERS:
            raise PathPatternError(f"pathPattern {pattern!r} matches too many folders")
    if len(found) > MAX_ARTIFACTS:
        raise PathPatternError(
            f"pathPattern {pattern!r} matches {len(found)} folders, and {MAX_ARTIFACTS} is the most"
        )
    return found


def render(
    pattern: str,
    outputs: Sequence[OutputArtifact],
    found: Sequence[tuple[str, Mapping[str, str]]],
) -> Iterator[Request]:
    """The artifacts of all folders that were found, one after the other.

    Raises:
        PathPatternError: a value cannot be a label, a name cannot be an object's, two folders make
            the same name, a placeholder is unknown, or there are more than ``MAX_ARTIFACTS``.

    """
    count = 0
    owners: dict[str, str] = {}
    for folder, captured in found:
        labels = {name: value.lower() for name, value in captured.items()}
        for name, value in labels.items():
            if not _LABEL.fullmatch(value) or len(value) > _MAX_LABEL:
                raise PathPatternError(
                    f"pathPattern {pattern!r}: {value[:100]!r}, captured as {name!r}, cannot be"
                    " the value of a label"
                )
        for output in outputs:
            request = _rendered(output, labels, captured)
            name = request.output.name
            if not is_object_name(name):
                raise PathPatternError(
                    f"pathPattern {pattern!r}: {name[:300]!r} is not the name of an object"
                )
            if name in owners:
                raise PathPatternError(
                    f"pathPattern {pattern!r}: the folders {owners[name]!r} and {folder!r} both"
                    f" make an artifact {name!r}"
                )
            owners[name] = folder
            count += 1
            if count > MAX_ARTIFACTS:
                raise PathPatternError(
                    f"pathPattern {pattern!r} makes more than {MAX_ARTIFACTS} artifacts"
                )
            yield request


def _rendered(
    output: OutputArtifact, labels: Mapping[str, str], captured: Mapping[str, str]
) -> Request:
    copies: tuple[CopyOperation, ...] = tuple(
        msgspec.structs.replace(
            one, from_=_filled(one.from_, captured), to=_filled(one.to, captured)
        )
        for one in output.copy
    )
    named = msgspec.structs.replace(output, name=_filled(output.name, labels), copy=copies)
    return Request(named, labels)


def _filled(template: str, values: Mapping[str, str]) -> str:
    parts = []
    for is_capture, text in _pieces(template):
        if is_capture and text not in values:
            raise PathPatternError(f"{template!r}: pathPattern has no capture {text!r}")
        parts.append(values[text] if is_capture else text)
    return "".join(parts)


def _expression(name: str) -> re2.Pattern:
    """One name of a pattern as an expression with a group for each capture."""
    parts = [
        f"(?P<{text}>.+)" if is_capture else str(re2.escape(text))
        for is_capture, text in _pieces(name)
    ]
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    return re2.compile("".join(parts), options=options)


def _pieces(template: str) -> list[tuple[bool, str]]:
    """A template as texts and names of captures; the first of each pair says which it is.

    Raises:
        PathPatternError: braces do not match, or hold no name.

    """
    pieces: list[tuple[bool, str]] = []
    rest = template
    while rest:
        text, opened, rest = rest.partition("{")
        if "}" in text:
            raise PathPatternError(f"{template!r}: a closing brace has no opening one")
        pieces.append((False, text))
        if opened:
            name, closed, rest = rest.partition("}")
            if not closed:
                raise PathPatternError(f"{template!r}: an opening brace has no closing one")
            if not _CAPTURE_NAME.fullmatch(name):
                raise PathPatternError(f"{template!r}: {name[:100]!r} is no name of a capture")
            pieces.append((True, name))
    return pieces


def _name_of(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.encode(errors="surrogateescape").decode(errors="replace")

"""Why sources do not become objects.

    BuildError .................. .reason_hint is the condition reason that Flux gives it
    ├── YamlError ............... a document is not YAML that Kubernetes reads (.source, .line)
    ├── PathNotFound ............ spec.path is not in the artifact
    ├── KustomizeError .......... the kustomization does not build; the author must change it
    │   ├── RefusedInput ........ it asks for what a build may not do: remote bases, other files
    │   ├── DroppedLink ......... it needs a file that was a link and is not in the artifact
    │   └── DuplicateObject ..... two of the objects are the same object
    ├── SubstitutionError ....... a ${...} expression is wrong or its variable is not set
    ├── BuildTimeout ............ the build did not end in time and was killed
    └── EngineFailed ............ the program could not run or died; trying again may help

Messages name files relative to the artifact's root and never contain values of Secrets.
"""

from __future__ import annotations

from fluvial.errors import FluvialError

__all__ = [
    "BuildError",
    "BuildTimeout",
    "DroppedLink",
    "DuplicateObject",
    "EngineFailed",
    "KustomizeError",
    "PathNotFound",
    "RefusedInput",
    "SubstitutionError",
    "YamlError",
]


class BuildError(FluvialError):
    """Sources do not become objects; ``str`` of it is for the object's status."""

    reason_hint = "BuildFailed"


class YamlError(BuildError):
    """Text is not YAML that Kubernetes reads.

    Attributes:
        problem: what is wrong, without the place.
        source: file name, or ``""``.
        line: counted from 1, or 0 where it is not known.

    """

    def __init__(self, problem: str, *, source: str = "", line: int = 0) -> None:
        place = ":".join(filter(None, (source, str(line) if line and source else "")))
        if line and not source:
            place = f"line {line}"
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem = problem
        self.source = source
        self.line = line


class PathNotFound(BuildError):
    """``spec.path`` is not a folder of the artifact."""

    reason_hint = "ArtifactFailed"


class KustomizeError(BuildError):
    """The kustomization does not build."""


class RefusedInput(KustomizeError):
    """The kustomization asks for something that a build may not do."""


class DroppedLink(KustomizeError):
    """The kustomization needs a file that was a symbolic link in the source."""


class DuplicateObject(KustomizeError):
    """Two objects of the build have the same identity."""


class SubstitutionError(BuildError):
    """A ``${...}`` expression cannot be replaced."""


class BuildTimeout(BuildError):
    """The build was killed because it took too long."""


class EngineFailed(BuildError):
    """The program that builds could not be run, or died."""

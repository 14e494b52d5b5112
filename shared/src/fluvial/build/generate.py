"""The root kustomization of a build: found or generated, then overlaid with the spec's fields.

Reads the shared tree and writes nothing. What the author wrote stays as it is where the spec says
nothing. ``sortOptions`` is set to the order of the files, which is Flux's, unless the author chose
another.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from fluvial.api.kustomize import Image
from fluvial.build import kustomization, yaml
from fluvial.build.errors import DroppedLink, KustomizeError, PathNotFound, RefusedInput, YamlError
from fluvial.build.spec import BuildSpec
from fluvial.objects import JsonObject
from fluvial.paths import secure_join

__all__ = ["RootKustomization", "generate"]

_MANIFESTS: Final = (".yaml", ".yml")
_MAX_MANIFEST_BYTES: Final = 64 * 1024**2
"""Of a plain folder, all together: what a build may put out."""
_PLACEHOLDER: Final = "_placeholder"
_ORIGIN: Final = "originAnnotations"
_NOT_A_COMPONENT: Final = (
    *("git::", "gh:", "ssh://", "http://", "https://", "file://"),
    *("git@", "github.com:", "github.com/"),
)


@dataclass(frozen=True, slots=True)
class RootKustomization:
    """The kustomization that a build starts from.

    Attributes:
        folder: the folder to build, relative to the artifact's root; ``"."`` for itself.
        file: the kustomization's own path, relative to the artifact's root.
        content: what has to be in it.

    """

    folder: str
    file: str
    content: JsonObject

    def write(self, root: Path) -> None:
        """Put the file into a private copy of the artifact.

        A file of the copy may share its bytes with the artifact: it is replaced, not written to.
        """
        file = root / self.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(yaml.dump(self.content))


def generate(
    tree: Path, spec: BuildSpec, *, dropped_links: Sequence[str] = ()
) -> RootKustomization:
    """Find or make the root kustomization of a build.

    Args:
        tree: the artifact's files; a real path. Symbolic links in it are not followed.
        spec: what to build.
        dropped_links: links that were left out of the artifact, relative to its root.

    Raises:
        PathNotFound: ``spec.path`` is not a folder.
        DroppedLink: it was a link.
        RefusedInput: a component is absolute, remote or outside the artifact, or the manifests or
            the kustomization are too large.
        YamlError: the kustomization, or a manifest of a plain folder, is not YAML.
        KustomizeError: one of them is not what it must be.

    """
    folder = _folder(tree, spec.path, dropped_links)
    file = kustomization.file_in(folder)
    if file is None:
        content = _for_plain_folder(tree, folder)
        source = _relative(tree, folder / kustomization.FILE_NAMES[0])
    else:
        source = _relative(tree, file)
        content = kustomization.read(file, source=source)
        if not kustomization.field(content, "resources"):
            # kustomize takes a kustomization without any effect for a mistake; this is an effect.
            kustomization.put(content, "buildMetadata", [_ORIGIN])
    _overlay(content, spec, folder=folder, source=source)
    if kustomization.field(content, "sortOptions") is None:
        kustomization.put(content, "sortOptions", {"order": "fifo"})
    return RootKustomization(_relative(tree, folder), source, content)


def _folder(root: Path, path: str, dropped_links: Sequence[str]) -> Path:
    try:
        folder = secure_join(root, path)
    except ValueError as error:
        raise PathNotFound(f"path {path!r}: {error}") from None
    if folder.is_dir():
        return folder
    relative = folder.relative_to(root).as_posix()
    link = kustomization.dropped_link_in(relative, dropped_links)
    if link is not None:
        raise DroppedLink(
            f"path {path!r} leads through {link}, which is a symbolic link in the source; links"
            " are not part of an artifact: name the folder itself"
        )
    raise PathNotFound(f"path {path!r} is not a folder of the artifact")


def _relative(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()


# --- plain folders -----------------------------------------------------------------------------


def _for_plain_folder(root: Path, folder: Path) -> JsonObject:
    resources = list(_resources_below(root, folder))
    content: JsonObject = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
    }
    if resources:
        content["resources"] = resources
    else:
        content["namespace"] = _PLACEHOLDER
    return content


def _resources_below(root: Path, base: Path) -> Iterator[str]:
    """Manifests and folders with a kustomization, in the order of their paths, depth first."""
    pending = _in_order(base)
    left = _MAX_MANIFEST_BYTES
    while pending:
        entry = pending.pop()
        if entry.is_dir():
            if kustomization.file_in(entry) is not None:
                yield entry.relative_to(base).as_posix()
            else:
                pending.extend(_in_order(entry))
        elif entry.is_file() and entry.name.endswith(_MANIFESTS):
            left -= entry.stat().st_size
            if left < 0:
                raise RefusedInput(
                    f"{_relative(root, entry)}: the manifests below the path are larger than"
                    f" {_MAX_MANIFEST_BYTES // 1024**2} MiB"
                )
            _check_manifest(entry, source=_relative(root, entry))
            yield entry.relative_to(base).as_posix()


def _in_order(folder: Path) -> list[Path]:
    """What is in a folder, without links, the first by name last."""
    entries = (entry for entry in folder.iterdir() if not entry.is_symlink())
    return sorted(entries, key=lambda path: path.name, reverse=True)


def _check_manifest(file: Path, *, source: str) -> None:
    try:
        documents = yaml.load_all(file.read_bytes(), source=source)
    except YamlError as error:
        problem = f"{error.problem}; every .yaml file below the path must be a manifest"
        raise YamlError(problem, source=source, line=error.line) from None
    for document in documents:
        problem = _not_an_object(document)
        if problem:
            raise KustomizeError(
                f"{source}: {problem}; every .yaml file below the path must be a manifest: add a"
                " kustomization.yaml that lists those that are, or exclude the file from the source"
            )


def _not_an_object(document: Any) -> str:
    if not isinstance(document, dict):
        return "not an object"
    kind = document.get("kind")
    if not isinstance(kind, str) or not kind:
        return "an object without kind"
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not name and not kind.endswith("List"):
        return "an object without metadata.name"
    return ""


# --- overlay -----------------------------------------------------------------------------------


def _overlay(content: JsonObject, spec: BuildSpec, *, folder: Path, source: str) -> None:
    for name, value in (
        ("namespace", spec.target_namespace),
        ("namePrefix", spec.name_prefix),
        ("nameSuffix", spec.name_suffix),
        ("buildMetadata", list(spec.build_metadata)),
    ):
        if value:
            kustomization.put(content, name, value)
    _append(content, "patches", msgspec.to_builtins(spec.patches), source=source)
    within = posixpath.dirname(source)
    components = [
        entry
        for entry in spec.components
        if _is_component(entry, spec, folder=folder, within=within)
    ]
    _append(content, "components", components, source=source)
    if spec.images:
        images = kustomization.items(content, "images", source=source)
        for image in spec.images:
            _merge_image(images, image)
        kustomization.put(content, "images", images)


def _append(content: JsonObject, name: str, added: Sequence[Any], *, source: str) -> None:
    if added:
        present = kustomization.items(content, name, source=source)
        kustomization.put(content, name, [*present, *added])


def _is_component(entry: str, spec: BuildSpec, *, folder: Path, within: str) -> bool:
    """Whether to add a component; ``within`` is the folder relative to the artifact."""
    if posixpath.isabs(entry) or entry.lower().startswith(_NOT_A_COMPONENT):
        raise RefusedInput(f"component {entry!r} must be a path in the artifact, relative to path")
    if posixpath.normpath(posixpath.join(within, entry)).split("/")[0] == "..":
        # Looking whether it is there would tell what files this machine has.
        raise RefusedInput(f"component {entry!r} is outside the artifact")
    return not spec.ignore_missing_components or (folder / entry).exists()


def _merge_image(images: list[Any], image: Image) -> None:
    """The name is replaced by itself; tag and digest are one thing and replaced together."""
    entry = next(
        (
            found
            for found in images
            if isinstance(found, dict) and kustomization.field(found, "name") == image.name
        ),
        None,
    )
    if entry is None:
        entry = {"name": image.name}
        images.append(entry)
    if image.new_name:
        kustomization.put(entry, "newName", image.new_name)
    if image.new_tag or image.digest:
        kustomization.put(entry, "newTag", image.new_tag or None)
        kustomization.put(entry, "digest", image.digest or None)

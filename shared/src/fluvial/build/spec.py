"""The part of a Kustomization that decides what its build gives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from fluvial.api.kustomize import BuildMetadata, Image, KustomizationSpec, Patch

__all__ = ["BuildSpec"]


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """Everything that a build depends on besides the artifact. Nothing in it is secret."""

    path: str = ""
    target_namespace: str | None = None
    name_prefix: str | None = None
    name_suffix: str | None = None
    patches: tuple[Patch, ...] = ()
    images: tuple[Image, ...] = ()
    components: tuple[str, ...] = ()
    ignore_missing_components: bool = False
    build_metadata: tuple[BuildMetadata, ...] = ()

    @classmethod
    def of(cls, spec: KustomizationSpec) -> BuildSpec:
        """The build-relevant fields of a Kustomization's spec."""
        return cls(
            path=spec.path,
            target_namespace=spec.target_namespace,
            name_prefix=spec.name_prefix,
            name_suffix=spec.name_suffix,
            patches=spec.patches,
            images=spec.images,
            components=spec.components,
            ignore_missing_components=spec.ignore_missing_components,
            build_metadata=spec.build_metadata,
        )

    def digest(self) -> str:
        """SHA-256 in hex; equal specs, and no others, have equal digests."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()

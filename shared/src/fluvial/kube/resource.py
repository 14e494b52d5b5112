"""A resource: what a kind is called in URLs, and where its objects live."""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.objects import GroupVersionKind

__all__ = ["Resource"]


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource, as discovery names it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def gvk(self) -> GroupVersionKind:
        """Group, version and kind."""
        return GroupVersionKind(self.group, self.version, self.kind)

    @property
    def group_resource(self) -> str:
        """``deployments.apps``; the core group adds nothing."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

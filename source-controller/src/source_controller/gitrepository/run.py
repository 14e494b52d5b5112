"""What the steps of a GitRepository hand on to each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluvial.api.codec import encode
from fluvial.api.meta import Artifact
from fluvial.api.source import GitRepository
from source_controller.source.run import Run

__all__ = ["GitRun"]


@dataclass(slots=True)
class GitRun(Run[GitRepository]):
    """One reconcile of one GitRepository.

    Attributes:
        included: artifacts of the includes, in their order.

    """

    included: list[Artifact] = field(default_factory=list)

    def observe_spec(self) -> None:
        """Note the parts of the spec that the artifact was made with."""
        spec = self.obj.spec
        self.observe(
            includedArtifacts=[encode(artifact) for artifact in self.included],
            observedIgnore=spec.ignore,
            observedInclude=[encode(include) for include in spec.include],
            observedRecurseSubmodules=spec.recurse_submodules,
            observedSparseCheckout=list(spec.sparse_checkout),
        )

    def content_config_changed(self) -> bool:
        """Whether the artifact was made with other ignore rules, includes and so on than these."""
        spec = self.obj.spec
        status = self.obj.status
        wanted = [(artifact.revision, artifact.digest) for artifact in self.included]
        had = [(artifact.revision, artifact.digest) for artifact in status.included_artifacts]
        return (
            spec.ignore != status.observed_ignore
            or spec.recurse_submodules != status.observed_recurse_submodules
            or list(spec.sparse_checkout) != status.observed_sparse_checkout
            or list(spec.include) != status.observed_include
            or wanted != had
        )

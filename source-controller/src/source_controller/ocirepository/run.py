"""What the steps of an OCIRepository hand on to each other."""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.api.codec import encode
from fluvial.api.source_oci import OCILayerSelector, OCIRepository
from fluvial.runtime import conditions
from source_controller.source import reasons
from source_controller.source.run import Run

__all__ = ["OCIRun", "verified_message"]


@dataclass(slots=True)
class OCIRun(Run[OCIRepository]):
    """One reconcile of one OCIRepository."""

    @property
    def selector(self) -> OCILayerSelector:
        """Which layer is taken, with the defaults applied."""
        return self.obj.spec.layer_selector or OCILayerSelector()

    def observe_spec(self) -> None:
        """Note the parts of the spec that the artifact was made with."""
        spec = self.obj.spec
        selector = spec.layer_selector
        self.observe(
            observedIgnore=spec.ignore,
            observedLayerSelector=encode(selector) if selector is not None else None,
        )

    def is_current(self, revision: str) -> bool:
        """Whether the artifact is of a revision, and made with this spec."""
        spec, status = self.obj.spec, self.obj.status
        return (
            self.artifact is not None
            and self.artifact.revision == revision
            and spec.ignore == status.observed_ignore
            and spec.layer_selector == status.observed_layer_selector
        )

    def needs_verification(self, revision: str) -> bool:
        """Whether the signature of a revision still has to be checked for this spec."""
        verified = conditions.get_condition(self.conditions, reasons.SOURCE_VERIFIED)
        return (
            self.artifact is None
            or self.artifact.revision != revision
            or verified is None
            or verified.status != "True"
            or verified.observed_generation != self.generation
            # It may be about one that was verified and could then not be pulled.
            or verified.message != verified_message(revision)
        )


def verified_message(revision: str) -> str:
    """What ``SourceVerified`` says, and by which its revision is known again."""
    return f"verified signature of revision {revision}"

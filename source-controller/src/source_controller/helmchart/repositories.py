"""What charts are fetched from: the same questions for an index over HTTP and for a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fluvial.artifact.digest import Digest
from fluvial.errors import FluvialError
from source_controller.helmchart.downloads import ChartFile, Room
from source_controller.oci.registry import RepositoryClient

__all__ = ["ChartRepository", "PullFailed", "RefusedAccess", "Verifier", "Version"]


class PullFailed(FluvialError):
    """A chart or an index could not be had; the text is for a status."""


class RefusedAccess(PullFailed):
    """The host does not take our credentials, or we do not take its certificate."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a chart that is there to be fetched.

    Attributes:
        name: of the chart, as it was asked for.
        version: as it is published.
        address: of its package, or of its repository.
        digest: of its package as the index has it, or of its manifest; ``""`` if unknown.

    """

    name: str
    version: str
    address: str
    digest: str


class ChartRepository(Protocol):
    """Where charts are; made for one run of one object."""

    timeout: float
    """Seconds for everything that is asked of it."""

    async def resolve(self, name: str, version: str, room: Room) -> Version:
        """The version that is meant.

        Raises:
            NoSuchChart: the repository is known, and does not have it.
            PullFailed, ChartError, OSError: it could not be asked.

        """
        ...

    async def fetch(self, version: Version, room: Room) -> ChartFile:
        """The package of a version.

        Raises:
            PullFailed, ChartError, OSError: it could not be had.

        """
        ...


class Verifier(Protocol):
    """Checks the signatures of what a registry has."""

    async def __call__(self, registry: RepositoryClient, digest: Digest) -> bool: ...

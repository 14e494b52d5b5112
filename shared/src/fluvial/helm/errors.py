"""Why a release is not what it should be.

HelmError ................. str of it is for the object's status and never has values in it
├── StorageError
│   ├── ReleaseNotFound ... no such record
│   ├── ReleaseExists ..... somebody else made this revision first
│   ├── CorruptRecord ..... .secret cannot be read as a release
│   └── RecordTooLarge .... the release does not fit into a Secret
├── ValuesError ........... values cannot be put together; the author must change something
├── ManifestError ......... what the templates gave is not a list of objects
├── InventoryTooLarge ..... a status cannot list so many objects
├── MergeError ............ two versions of an object cannot be merged by the client
├── WaitFailed
│   └── WaitEnded ......... nobody wants to know any more; not the objects' fault
└── OwnershipError ........ an object exists and belongs to somebody else
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fluvial.errors import FluvialError

if TYPE_CHECKING:
    from fluvial.apply import Failure
    from fluvial.helm.release import Release

__all__ = [
    "ActionFailed",
    "ActionRefused",
    "ChartVersionError",
    "CorruptRecord",
    "HelmError",
    "HookFailed",
    "InventoryTooLarge",
    "ManifestError",
    "MergeError",
    "ObjectsFailed",
    "OwnershipError",
    "RecordTooLarge",
    "ReleaseExists",
    "ReleaseNotFound",
    "StorageError",
    "ValuesError",
    "WaitEnded",
    "WaitFailed",
]


class HelmError(FluvialError):
    """Root of the room's errors."""


class StorageError(HelmError):
    """The records of a release could not be read or written."""


class ReleaseNotFound(StorageError):
    """There is no such record."""


class ReleaseExists(StorageError):
    """The revision has been made by somebody else in the meantime: look again."""


class CorruptRecord(StorageError):
    """A record cannot be read.

    Attributes:
        secret: name of the Secret, or ``""`` where the text did not come from one.
        version: the revision that its name tells, 0 if none.

    """

    def __init__(self, problem: str, *, secret: str = "", version: int = 0) -> None:
        where = f"the release record in Secret {secret}" if secret else "the release record"
        super().__init__(f"{where} cannot be read: {problem}")
        self.problem = problem
        self.secret = secret
        self.version = version


class RecordTooLarge(StorageError):
    """The release does not fit into a Secret; the chart must become smaller."""


class ChartVersionError(HelmError):
    """A chart's version is none, or not that of the artifact it came in."""


class ValuesError(HelmError):
    """Values could not be put together.

    Attributes:
        not_found: the object or key that is referred to is not there.

    """

    def __init__(self, message: str, *, not_found: bool = False) -> None:
        super().__init__(message)
        self.not_found = not_found


class ManifestError(HelmError):
    """A rendered manifest is not a stream of Kubernetes objects."""


class InventoryTooLarge(HelmError):
    """There are more objects in a release than its status can list."""


class MergeError(HelmError):
    """A list of an object cannot be merged, because an item lacks the field that names it."""


class OwnershipError(HelmError):
    """Objects exist that belong to another release, or to no release."""


class ObjectsFailed(HelmError):
    """Objects could not be written or deleted; ``failures`` has one entry each."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(failure.message for failure in failures))
        self.failures = tuple(failures)


class WaitFailed(HelmError):
    """Objects have failed or were not as they should be in time."""


class WaitEnded(WaitFailed):
    """A wait was ended before its time, as what is waited for is wanted no longer."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"the wait was ended: {cause}")


class HookFailed(HelmError):
    """A hook could not be made, has failed, or did not end in time."""


class ActionRefused(HelmError):
    """The release is not in a state for this action; nothing was written."""


class ActionFailed(HelmError):
    """An action has failed after the release was written to the storage.

    Attributes:
        release: the revision as it was written last.

    """

    def __init__(self, message: str, *, release: Release) -> None:
        super().__init__(message)
        self.release = release

"""What can be wrong with an artifact.

ArtifactError
├── ArtifactNotFound      it is not there (404); wait for the source to publish another
├── ArtifactUnreachable   the server did not answer, or with an error, after all retries
├── DigestMismatch        content differs from its digest; fetch again or rebuild
├── InvalidDigest         the digest is malformed or of an unsupported algorithm
├── StorageUnusable       the storage folder cannot be made or written, or is not ours any more
│   └── StorageLocked     another process writes to it; stop one of the two
├── ArtifactTooLarge      a size or count limit is exceeded; do not repeat
└── UnsafeArchive         an entry that must not be unpacked; do not repeat
"""

from __future__ import annotations

from fluvial.errors import FluvialError

__all__ = [
    "ArtifactError",
    "ArtifactNotFound",
    "ArtifactTooLarge",
    "ArtifactUnreachable",
    "DigestMismatch",
    "InvalidDigest",
    "StorageLocked",
    "StorageUnusable",
    "UnsafeArchive",
]


class ArtifactError(FluvialError):
    """Root of this room's errors."""


class ArtifactNotFound(ArtifactError):
    """The artifact's address has no content."""


class ArtifactUnreachable(ArtifactError):
    """The artifact's server could not be asked."""


class DigestMismatch(ArtifactError):
    """The content is not what the digest says."""


class InvalidDigest(ArtifactError):
    """Not a digest, or not one of the supported algorithms."""


class StorageUnusable(ArtifactError):
    """The storage folder cannot be made or written, or is not the one that was locked."""


class StorageLocked(StorageUnusable):
    """Another process writes to the storage folder."""


class ArtifactTooLarge(ArtifactError):
    """The archive or its content exceeds a limit."""


class UnsafeArchive(ArtifactError):
    """The archive is damaged or has an entry that must not be unpacked."""

"""What can go wrong between a registry and an artifact.

OciError
├── InvalidReference      not the address of a repository, or a bad tag or digest; do not repeat
├── InvalidCredentials    a Secret that cannot be read as credentials; do not repeat
├── RegistryError         the registry answered with an error
│   ├── Denied            401 or 403: credentials are missing, wrong or not enough
│   └── NotFound          404: no such repository, tag, manifest or blob
├── RegistryUnreachable   no answer, or one that stopped, after all attempts; try again
├── InvalidContent        what came is not what its digest, size or media type says
├── ContentTooLarge       a limit is exceeded; do not repeat
├── NoMatch               nothing fits: no tag in the range, no layer, no platform
└── VerificationFailed    no signature that counts

No message has credentials in it, nor the query of an address, nor what a server answers beside
its error codes.
"""

from __future__ import annotations

from fluvial.errors import FluvialError

__all__ = [
    "ContentTooLarge",
    "Denied",
    "InvalidContent",
    "InvalidCredentials",
    "InvalidReference",
    "NoMatch",
    "NotFound",
    "OciError",
    "RegistryError",
    "RegistryUnreachable",
    "VerificationFailed",
]


class OciError(FluvialError):
    """Root of this room's errors."""


class InvalidReference(OciError):
    """The text is not a reference."""


class InvalidCredentials(OciError):
    """Credentials, certificates or a proxy address that cannot be used."""


class RegistryError(OciError):
    """An answer that is no success.

    Attributes:
        status: of the HTTP answer.
        codes: the registry's own error codes, such as ``MANIFEST_UNKNOWN``.

    """

    def __init__(self, message: str, *, status: int, codes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.codes = codes


class Denied(RegistryError):
    """The credentials, or having none, do not suffice."""


class NotFound(RegistryError):
    """What was asked for is not there."""


class RegistryUnreachable(OciError):
    """The registry could not be asked.

    Attributes:
        passing: whether another attempt may go better.

    """

    def __init__(self, message: str, *, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class InvalidContent(OciError):
    """Content that contradicts its description."""


class ContentTooLarge(OciError):
    """More than is taken from any registry."""


class NoMatch(OciError):
    """The repository has nothing that fits."""


class VerificationFailed(OciError):
    """There is no signature that the object's policy accepts."""

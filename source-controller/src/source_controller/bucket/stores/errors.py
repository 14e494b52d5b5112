"""What can go wrong between a storage and us.

StoreError
├── Refused          the storage answered with an error; ``status`` and ``code`` tell which
│   ├── NoBucket     there is no such bucket
│   ├── NoObject     there is no such object
│   └── Changed      the object is not the one that was listed
├── Unreachable      no answer, or one that stopped, after all attempts; try again
├── InvalidAnswer    an answer that cannot be read, or leads elsewhere
├── TooLarge         a limit is exceeded
└── BadCredentials   what is in a Secret cannot be used, or was refused where it is exchanged

No message has credentials in it, nor the query of an address, nor what a storage answers beside
its error codes.
"""

from __future__ import annotations

from fluvial.errors import FluvialError

__all__ = [
    "BadCredentials",
    "Changed",
    "InvalidAnswer",
    "NoBucket",
    "NoObject",
    "Refused",
    "StoreError",
    "TooLarge",
    "Unreachable",
]


class StoreError(FluvialError):
    """Root of this room's errors; ``str`` is the text for people."""


class Refused(StoreError):
    """An answer that is no success.

    Attributes:
        status: of the HTTP answer.
        code: the storage's own error code, such as ``AccessDenied``; ``""`` if it gave none.
        region: that the bucket is in, where S3 tells.

    """

    def __init__(self, message: str, *, status: int, code: str = "", region: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.region = region


class NoBucket(Refused):
    """The bucket does not exist."""


class NoObject(Refused):
    """The object does not exist, or no longer."""


class Changed(Refused):
    """The object has another content than it had when it was listed."""


class Unreachable(StoreError):
    """The storage could not be asked."""


class InvalidAnswer(StoreError):
    """The answer is not one that such a storage gives."""


class TooLarge(StoreError):
    """The bucket, one of its objects or an answer is larger than allowed."""


class BadCredentials(StoreError):
    """Credentials that cannot be used or that nobody takes."""

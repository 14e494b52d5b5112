"""What goes wrong between an identity and its credentials.

CloudError
├── NoIdentity ........ nothing tells the controller who it is in that cloud; configure it
├── IdentityDisabled .. an object names an identity while the feature gate is off; do not repeat
├── InvalidIdentity ... a service account, Secret or endpoint that cannot be used; correct it
├── WrongHost ......... the provider's credentials are not for that host; nothing was asked
├── LoginRefused ...... the cloud's service said no
└── LoginUnreachable .. it gave no answer, or none that can be read; try again

No message has a token, key, assertion or password in it, nor the body of an answer: only the
service's error code and the beginning of its explanation.
"""

from __future__ import annotations

from fluvial.errors import FluvialError

__all__ = [
    "CloudError",
    "IdentityDisabled",
    "InvalidIdentity",
    "LoginRefused",
    "LoginUnreachable",
    "NoIdentity",
    "WrongHost",
]


class CloudError(FluvialError):
    """Root of this room's errors; ``str`` is the text for people."""


class NoIdentity(CloudError):
    """The controller has no credentials of its own for the cloud."""


class IdentityDisabled(CloudError):
    """Identities of objects are switched off by ``ObjectLevelWorkloadIdentity``."""


class InvalidIdentity(CloudError):
    """The identity that an object names, or its Secret, cannot be used as it is."""


class WrongHost(CloudError):
    """A cloud's credentials were wanted for a host that is not that cloud's."""


class LoginRefused(CloudError):
    """The service refuses the login.

    Attributes:
        status: of the HTTP answer.

    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class LoginUnreachable(CloudError):
    """The service could not be asked, or answered something else than it should."""

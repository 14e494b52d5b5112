"""Service accounts of objects: their annotations, and tokens that prove them to a cloud."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

import orjson

from fluvial.clock import parse_time
from fluvial.cloud.errors import InvalidIdentity, NoIdentity
from fluvial.cloud.model import AccessToken, ServiceAccount
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import SERVICE_ACCOUNT
from fluvial.kube.urls import object_path

__all__ = ["Account", "Accounts", "account_in"]

_TOKEN_SECONDS = 3600
_IMPERSONATION = ".auth.fluxcd.io/impersonation"


_SUBJECT = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})")


def account_in(token: str) -> ServiceAccount:
    """The service account whose token it is, unchecked: the file that it is from is believed.

    Raises:
        NoIdentity: it is not the token of one.

    """
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        found = _SUBJECT.fullmatch(str(claims["sub"]))
    except (IndexError, KeyError, TypeError, ValueError):
        found = None
    if found is None:
        raise NoIdentity("the pod's own token is not one of a service account")
    return ServiceAccount(found[1], found[2])


@dataclass(frozen=True, slots=True)
class Account:
    """A service account as it is now.

    Attributes:
        identity: namespace, name and audiences.
        uid: of the object: one of the same name that is made later is another.
        annotations: which role or client it stands for.

    """

    identity: ServiceAccount
    uid: str
    annotations: dict[str, str] = field(default_factory=dict)

    def annotation(self, name: str, *, needed: bool = True) -> str:
        """An annotation.

        Raises:
            InvalidIdentity: it is needed and not there.

        """
        value = self.annotations.get(name, "")
        if needed and not value:
            raise InvalidIdentity(
                f"the service account {str(self.identity.key)!r} needs the annotation {name}"
            )
        return value


class Accounts:
    """Reads service accounts and asks for their tokens, under the controller's own identity.

    Args:
        client: may get service accounts and create ``serviceaccounts/token``.

    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def read(self, identity: ServiceAccount) -> Account:
        """The service account, live: an annotation that has gone is gone at once.

        Raises:
            InvalidIdentity: it is not there, cannot be read, or asks for what is not done yet.

        """
        try:
            obj = await self._client.get(SERVICE_ACCOUNT, identity.key, metadata_only=True)
        except NotFound as error:
            raise InvalidIdentity(f"service account {str(identity.key)!r} not found") from error
        except FluvialError as error:
            raise InvalidIdentity(
                f"failed to get the service account {str(identity.key)!r}: {error}"
            ) from error
        metadata = obj.get("metadata") or {}
        annotations = dict(metadata.get("annotations") or {})
        refused = next((name for name in annotations if name.endswith(_IMPERSONATION)), "")
        if refused:
            raise InvalidIdentity(
                f"the annotation {refused} of the service account {str(identity.key)!r}"
                " is not supported yet: remove it"
            )
        return Account(identity, str(metadata.get("uid")), annotations)

    async def token(self, account: Account, audience: str) -> str:
        """A token of a service account for the cloud, to be exchanged at once; see ``issue``."""
        return (await self.issue(account, audience)).token

    async def issue(self, account: Account, audience: str) -> AccessToken:
        """A token of a service account, bound to nothing else.

        Args:
            account: as just read.
            audience: where the identity names none.

        Raises:
            InvalidIdentity: the API server gives none.

        """
        identity = account.identity
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": list(identity.audiences) or [audience],
                "expirationSeconds": _TOKEN_SECONDS,
            },
        }
        try:
            path = object_path(SERVICE_ACCOUNT, identity.key, "token")
            # A token that nobody got is no harm.
            answer = await self._client.request("POST", path, body=body, idempotent=True)
        except FluvialError as error:
            raise InvalidIdentity(
                f"failed to get a token for the service account {str(identity.key)!r}: {error}"
            ) from error
        status = answer.get("status") or {}
        token = status.get("token")
        if not isinstance(token, str) or not token:
            raise InvalidIdentity(
                f"the API server gave an empty token for the service account {str(identity.key)!r}"
            )
        try:
            return AccessToken(token, parse_time(str(status.get("expirationTimestamp"))))
        except ValueError:
            return AccessToken(token)

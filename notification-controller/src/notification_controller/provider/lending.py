"""Types whose service is a cloud's own, which a Provider may be told to by an identity of it.

Whose identity it is, the object says by ``spec.serviceAccountName``; without one it is the
controller's. What it can do, a tenant must not learn to do by naming a host, an authority or plain
HTTP of its own: tokens go to hosts of that cloud. A proxy does no harm, it sees TLS only.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from fluvial.cloud.errors import IdentityDisabled, InvalidIdentity, WrongHost
from fluvial.cloud.githosts import azure_devops
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import AccessToken, ControllerIdentity, Identity, Way
from notification_controller.provider import queues
from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.repositories import repository
from notification_controller.provider.settings import Settings

__all__ = ["CLOUD_TYPES", "Lending", "is_lent", "lent", "whose"]

_EVENT_HUBS_SCOPE = "https://eventhubs.azure.net/.default"
_EVENT_HUBS = re.compile(
    r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    r"\.servicebus\.(?:windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Lending:
    """Who logs in, and how.

    Attributes:
        identities: get tokens, and keep them.
        identity: of the Provider.
        way: proxy and authorities.

    """

    identities: CloudIdentities
    identity: Identity
    way: Way = field(repr=False)


def whose(identities: CloudIdentities, namespace: str, service_account: str) -> Identity:
    """Whose identity a Provider has.

    Args:
        identities: of the process.
        namespace: the Provider's; no other one's service account is ever used.
        service_account: ``spec.serviceAccountName``.

    Raises:
        SendFailed: it names one while the feature gate is off.

    """
    try:
        return identities.identity_of(namespace, service_account)
    except IdentityDisabled as error:
        raise SendFailed(str(error), again=False) from error


def is_lent(to: Settings, service_account: str) -> bool:
    """Whether a Provider speaks by an identity, for want of anything in its Secret.

    Raises:
        SendFailed: a service account and what the Secret has exclude each other.

    """
    if to.type not in CLOUD_TYPES:
        return False
    has_key = to.type == "azureeventhub" and queues.is_connection(to.address)
    if to.type == "azureeventhub" and service_account and (has_key or to.token):
        what = "a connection string" if has_key else "a token"
        raise SendFailed(f"spec.serviceAccountName and {what} exclude each other", again=False)
    return not (has_key or to.token)


async def lent(to: Settings, lending: Lending) -> Settings:
    """The settings with a token of the identity.

    Args:
        to: of a Provider for which ``is_lent`` is true.
        lending: whose.

    Raises:
        SendFailed: the Provider lacks something.
        CloudError: there is no token to be had.

    """
    if isinstance(lending.identity, ControllerIdentity) and lending.way.ca:
        raise InvalidIdentity(
            "'ca.crt' and the controller's own cloud identity exclude each other: use"
            " spec.serviceAccountName, or add the CA to the controller's trust"
        )
    token = await CLOUD_TYPES[to.type](to, lending)
    return replace(to, bearer=token.token)


async def _azuredevops(to: Settings, lending: Lending) -> AccessToken:
    form = "https://dev.azure.com/<organization>/<project>/_git/<repository>"
    host = repository(to, least=3, most=9, form=form).host
    return await azure_devops(lending.identities, host, identity=lending.identity, way=lending.way)


async def _azureeventhub(to: Settings, lending: Lending) -> AccessToken:
    host = queues.hub_of(to).host or ""
    if not _EVENT_HUBS.fullmatch(host):
        raise WrongHost(
            "a cloud identity is for hosts of Event Hubs only: the channel must be a namespace,"
            " or <namespace>.servicebus.windows.net"
        )
    return await lending.identities.azure(
        lending.identity, scope=_EVENT_HUBS_SCOPE, way=lending.way
    )


async def _googlepubsub(_to: Settings, lending: Lending) -> AccessToken:
    return await lending.identities.gcp(lending.identity, way=lending.way)


CLOUD_TYPES: Mapping[str, Callable[[Settings, Lending], Awaitable[AccessToken]]] = {
    "azuredevops": _azuredevops,
    "azureeventhub": _azureeventhub,
    "googlepubsub": _googlepubsub,
}
"""The types that take an identity."""

"""The metadata services of the machine and the pod: the controller's own identity, nobody else's.

The dialer denies these addresses to everything that a user can name. This is the one way to them,
and it cannot be steered: there is no method that takes an address, the places and the paths below
are all there are, no name is resolved, no proxy is used, no redirect is followed, and a socket is
made only for the very address of the place. Two values come from outside, each checked against
its place: the operator's environment names the path of a container's credentials, and a Secret
may name which of the machine's Azure identities is wanted.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from fluvial.cloud.errors import CloudError, InvalidIdentity, LoginUnreachable, NoIdentity
from fluvial.cloud.http import Answer, Question, exchange
from fluvial.net.errors import AddressDenied

__all__ = ["PLACES", "Metadata", "Place", "only"]

_SECONDS = 5.0
_SESSION_SECONDS = 21600


@dataclass(frozen=True, slots=True)
class Place:
    """A metadata service.

    Attributes:
        address: where it always is.
        paths: that may be asked for, with their queries.

    """

    address: str
    paths: re.Pattern[str]

    def url(self, path: str) -> URL:
        """The address of a path.

        Raises:
            InvalidIdentity: it is none of the place's.

        """
        if not self.paths.fullmatch(path) or ".." in path:
            raise InvalidIdentity("that is no path of a metadata service")
        host = f"[{self.address}]" if ":" in self.address else self.address
        return URL(f"http://{host}{path}", encoded=True)


_TEXT = r"[A-Za-z0-9+=,.@_%-]{1,512}"
_AWS = Place(
    "169.254.169.254",
    re.compile(rf"/latest/(api/token|meta-data/iam/security-credentials/({_TEXT})?)"),
)
_AZURE = Place(
    "169.254.169.254",
    re.compile(
        rf"/metadata/identity/oauth2/token\?api-version=2018-02-01&resource={_TEXT}"
        rf"(&client_id={_TEXT})?"
    ),
)
_GCP = Place(
    "169.254.169.254",
    re.compile(
        rf"/computeMetadata/v1/(instance/service-accounts/default/token\?scopes={_TEXT}"
        r"|project/project-id|instance/attributes/cluster-(name|location))"
    ),
)
_CONTAINER_PATH = re.compile(r"/[A-Za-z0-9/._~-]{0,512}(\?[A-Za-z0-9=&._~-]{0,512})?")
_ECS = Place("169.254.170.2", _CONTAINER_PATH)
_EKS = Place("169.254.170.23", _CONTAINER_PATH)
_EKS6 = Place("fd00:ec2::23", _CONTAINER_PATH)

PLACES = (_AWS, _AZURE, _GCP, _ECS, _EKS, _EKS6)


def only(place: Place) -> aiohttp.BaseConnector:
    """A connector that can make no connection but to the place."""

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, target = info
        if (str(target[0]), int(target[1])) != (place.address, 80):
            raise AddressDenied("a metadata service is asked at its own address only")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    return aiohttp.TCPConnector(socket_factory=make, use_dns_cache=False, limit=1)


class Metadata:
    """Asks the metadata services.

    Args:
        connect: how a place is reached; tests lead it to servers of theirs.

    """

    def __init__(self, *, connect: Callable[[Place], aiohttp.BaseConnector] = only) -> None:
        self._connect = connect

    async def aws_instance(self) -> dict[str, Any]:
        """The credentials of the instance's role (IMDSv2).

        Raises:
            NoIdentity: nobody answers, or the instance has no role.
            LoginRefused, LoginUnreachable: it answers, but not with credentials.

        """
        what = "the role of the instance"
        token = await self._ask(
            _AWS,
            "/latest/api/token",
            what="a session",
            method="PUT",
            headers={"X-aws-ec2-metadata-token-ttl-seconds": str(_SESSION_SECONDS)},
        )
        headers = {"X-aws-ec2-metadata-token": _line(token)}
        base = "/latest/meta-data/iam/security-credentials/"
        answer = await self._ask(_AWS, base, what=what, headers=headers)
        if answer.status == 404:
            raise NoIdentity("the instance has no IAM role")
        role = quote(_line(answer), safe="+=,.@_-")
        return (await self._ask(_AWS, base + role, what=what, headers=headers)).json()

    async def aws_container(
        self, *, relative: str = "", full: str = "", token: str = ""
    ) -> dict[str, Any]:
        """The credentials of a container (ECS) or pod (EKS Pod Identity).

        Args:
            relative: path below the ECS agent, of the environment.
            full: or the whole address, of the environment.
            token: that is sent along.

        Raises:
            InvalidIdentity: the address is not one of the agents'.
            NoIdentity, LoginRefused, LoginUnreachable: as above.

        """
        place, path = (_ECS, relative) if relative else _agent(full)
        headers = {"Authorization": token} if token else {}
        what = "the credentials of the container"
        return (await self._ask(place, path, what=what, headers=headers)).json()

    async def azure_token(self, resource: str, *, client_id: str = "") -> dict[str, Any]:
        """A token of a managed identity of the machine.

        Args:
            resource: that it is for.
            client_id: which identity; the only or system-assigned one if empty.

        """
        path = "/metadata/identity/oauth2/token?api-version=2018-02-01"
        path += f"&resource={quote(resource, safe='')}"
        path += f"&client_id={quote(client_id, safe='')}" if client_id else ""
        what = "a token of the managed identity"
        return (await self._ask(_AZURE, path, what=what, headers={"Metadata": "true"})).json()

    async def gcp_token(self, scopes: tuple[str, ...]) -> dict[str, Any]:
        """A token of the machine's, or under GKE the pod's, service account."""
        path = "/computeMetadata/v1/instance/service-accounts/default/token"
        path += f"?scopes={quote(','.join(scopes), safe=',')}"
        what = "a token of the service account"
        return (await self._ask(_GCP, path, what=what, headers=_FLAVOR)).json()

    async def gke_cluster(self) -> tuple[str, str, str]:
        """Project, location and name of the GKE cluster that the controller runs in.

        Raises:
            NoIdentity: it is none.

        """
        found = []
        for path in ("project/project-id", *(f"instance/attributes/cluster-{n}" for n in _NAMES)):
            what = "the name of the cluster"
            answer = await self._ask(
                _GCP, f"/computeMetadata/v1/{path}", what=what, headers=_FLAVOR
            )
            found.append(_line(answer))
        return found[0], found[1], found[2]

    async def _ask(
        self,
        place: Place,
        path: str,
        *,
        what: str,
        headers: dict[str, str],
        method: str = "GET",
    ) -> Answer:
        question = Question(method, place.url(path), what, headers)
        try:
            return await exchange(question, self._connect(place), seconds=_SECONDS)
        except LoginUnreachable as error:
            raise NoIdentity(f"no metadata service gives {what}: {error}") from error


_FLAVOR = {"Metadata-Flavor": "Google"}
_NAMES = ("location", "name")


def _agent(full: str) -> tuple[Place, str]:
    """Place and path of an address that the environment gives.

    Raises:
        InvalidIdentity: it is not the address of an agent.

    """
    try:
        url = URL(full, encoded=True)
        known = url.scheme == "http" and url.port == 80 and url.user is None
    except ValueError:
        known, url = False, URL()
    place = next((item for item in (_ECS, _EKS, _EKS6) if item.address == url.raw_host), None)
    if place is None or not known:
        raise InvalidIdentity(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI must lead to the agent of ECS or EKS:"
            " http://169.254.170.2, http://169.254.170.23 or http://[fd00:ec2::23]"
        )
    return place, url.raw_path_qs


def _line(answer: Answer) -> str:
    """The one line of a successful answer.

    Raises:
        CloudError: it has none, or says no.

    """
    if answer.status != 200:
        raise answer.refused("", "")
    try:
        text = answer.body.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise _unreadable(answer)
    return text


def _unreadable(answer: Answer) -> CloudError:
    return answer.unreadable()

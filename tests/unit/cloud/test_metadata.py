"""The way to metadata services leads nowhere else, and nobody else finds it."""

from __future__ import annotations

import contextlib
import inspect
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from clouds.clocks import TwoClocks
from clouds.kube import FakeAccounts
from clouds.metadata import FakeMetadata
from fluvial.cloud.errors import (
    CloudError,
    InvalidIdentity,
    LoginRefused,
    LoginUnreachable,
    NoIdentity,
)
from fluvial.cloud.http import CloudHttp, Question
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.metadata import PLACES, Metadata, only
from fluvial.cloud.model import CONTROLLER
from fluvial.cloud.settings import CloudSettings
from fluvial.net.dialer import Dialer
from fluvial.net.errors import AddressDenied
from fluvial.net.policy import AddressPolicy


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[FakeMetadata]:
    async with FakeMetadata.start(tmp_path) as found:
        yield found


def identities(machine: FakeMetadata, clock: TwoClocks, **environ: str) -> CloudIdentities:
    return CloudIdentities(
        CloudHttp(Dialer(AddressPolicy.build())),
        FakeAccounts().client,
        clock=clock,
        settings=CloudSettings.read(environ),
        metadata=machine.metadata,
    )


# --- what must fail -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.address)
async def test_the_dialer_of_everybody_denies_every_place(place: object) -> None:
    address = next(item.address for item in PLACES if item is place)
    host = f"[{address}]" if ":" in address else address
    http = CloudHttp(Dialer(AddressPolicy.build()))

    with pytest.raises(LoginUnreachable, match="not allowed"):
        await http.ask(Question("GET", URL(f"https://{host}/latest/"), "a secret"))
    with pytest.raises(InvalidIdentity, match="https only"):
        await http.ask(Question("GET", URL(f"http://{host}/latest/"), "a secret"))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/latest/user-data",
        "/latest/meta-data/",
        "/latest/meta-data/iam/security-credentials/../../user-data",
        "/latest/meta-data/iam/security-credentials/a/b",
        "/metadata/instance?api-version=2018-02-01",
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=a&b=c",
        "/computeMetadata/v1/instance/attributes/kube-env",
        "/computeMetadata/v1/instance/service-accounts/other/token?scopes=a",
        "//evil.example/latest/api/token",
    ],
)
def test_no_other_path_of_a_machine_is_asked(path: str) -> None:
    for place in PLACES[:3]:
        with pytest.raises(InvalidIdentity):
            place.url(path)


@pytest.mark.parametrize(
    "address", [("169.254.169.254", 8080), ("127.0.0.1", 80), ("169.254.169.253", 80)]
)
async def test_a_socket_is_made_for_the_place_alone(address: tuple[str, int]) -> None:
    connector = only(PLACES[0])
    assert isinstance(connector, aiohttp.TCPConnector)
    make = connector._socket_factory
    assert make is not None
    with pytest.raises(AddressDenied):
        make((socket.AF_INET, socket.SOCK_STREAM, 0, "", address))

    make((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("169.254.169.254", 80))).close()
    await connector.close()


def test_nobody_can_give_it_an_address_or_a_proxy() -> None:
    """``full`` is of the environment, and checked below."""
    methods = [item for name, item in vars(Metadata).items() if not name.startswith("_")]
    taken = {name for item in methods for name in inspect.signature(item).parameters}

    assert taken == {"self", "relative", "full", "token", "resource", "client_id", "scopes"}


@pytest.mark.parametrize(
    "full",
    [
        "http://169.254.169.254/latest/user-data",
        "http://127.0.0.1/credentials",
        "http://169.254.170.23:8080/v1/credentials",
        "https://169.254.170.23/v1/credentials",
        "http://user@169.254.170.23/v1/credentials",
        "http://169.254.170.23.evil.example/v1/credentials",
        "http://evil.example/#169.254.170.23",
        "ftp://169.254.170.23/",
        "169.254.170.23",
    ],
)
async def test_the_agent_of_a_container_is_one_of_three(machine: FakeMetadata, full: str) -> None:
    with pytest.raises(InvalidIdentity):
        await machine.metadata.aws_container(full=full, token="secret")

    assert machine.asked == []


async def test_a_redirect_is_not_followed(machine: FakeMetadata) -> None:
    machine.replies["/latest/api/token"] = lambda _: web.Response(
        status=302, headers={"Location": "http://169.254.169.254/latest/user-data"}
    )
    with pytest.raises(CloudError, match="redirects"):
        await machine.metadata.aws_instance()

    assert len(machine.asked) == 1


@pytest.mark.parametrize("client_id", ["a b", "a&resource=b", "../x", "a/b", "a?b", "a#b"])
async def test_a_client_id_stays_in_its_place(machine: FakeMetadata, client_id: str) -> None:
    with contextlib.suppress(CloudError):
        await machine.metadata.azure_token("https://storage.azure.com", client_id=client_id)
    queries = [URL(path, encoded=True).query for _, _, path in machine.asked]

    assert all(query["client_id"] == client_id and len(query) == 3 for query in queries)
    assert all(path.startswith("/metadata/identity/") for _, _, path in machine.asked)


async def test_no_role_is_said_so(machine: FakeMetadata, clock: TwoClocks) -> None:
    machine.replies["/latest/api/token"] = lambda _: web.Response(text="session")
    with pytest.raises(NoIdentity, match="no IAM role"):
        await identities(machine, clock, AWS_REGION="eu-west-1").aws(CONTROLLER)


async def test_the_instance_can_be_left_alone(machine: FakeMetadata, clock: TwoClocks) -> None:
    environ = {"AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"}
    with pytest.raises(NoIdentity, match="AWS_ACCESS_KEY_ID"):
        await identities(machine, clock, **environ).aws(CONTROLLER)

    assert machine.asked == []


async def test_a_machine_without_metadata_is_no_identity(
    machine: FakeMetadata, clock: TwoClocks
) -> None:
    machine.replies["/latest/api/token"] = lambda _: web.Response(status=403)
    logins = identities(machine, clock, AWS_REGION="eu-west-1")
    with pytest.raises(LoginRefused):
        await logins.aws(CONTROLLER)
    with pytest.raises(LoginRefused):
        await logins.azure(CONTROLLER)
    with pytest.raises(LoginRefused):
        await logins.gcp(CONTROLLER)


_ROLES = "/latest/meta-data/iam/security-credentials/"
_MANAGED = "/metadata/identity/oauth2/token"
_GOOGLE = "/computeMetadata/v1/instance/service-accounts/default/token"
_KEYS = {"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c"}


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (f"{_ROLES}role", {}),
        (f"{_ROLES}role", {**_KEYS, "SecretAccessKey": ""}),
        (f"{_ROLES}role", {**_KEYS, "AccessKeyId": 1}),
        (f"{_ROLES}role", {**_KEYS, "Expiration": "tomorrow"}),
        (f"{_ROLES}role", {**_KEYS, "Expiration": "2020-01-01T00:00:00Z"}),
        (f"{_ROLES}role", []),
        (_MANAGED, {"access_token": "", "expires_on": "1767326644"}),
        (_MANAGED, {"access_token": "t", "expires_on": "1"}),
        (_GOOGLE, {"access_token": "", "expires_in": 3599}),
        (_GOOGLE, {"access_token": "t", "expires_in": "soon"}),
        (_GOOGLE, {"access_token": "t", "expires_in": 0}),
    ],
)
async def test_an_answer_without_credentials_is_none(
    machine: FakeMetadata, clock: TwoClocks, path: str, document: object
) -> None:
    machine.replies = {
        "/latest/api/token": lambda _: web.Response(text="session"),
        _ROLES: lambda _: web.Response(text="role\n"),
        path: lambda _: web.json_response(document),
    }
    logins = identities(machine, clock, AWS_REGION="eu-west-1")
    ask = {_MANAGED: logins.azure, _GOOGLE: logins.gcp}.get(path, logins.aws)
    with pytest.raises((LoginUnreachable, NoIdentity)):
        await ask(CONTROLLER)  # type: ignore[operator]  # any of the three

    assert len(logins.cache) == 0


@pytest.mark.parametrize("session", [b"", b"a\nb", b"\xff"])
async def test_a_session_is_one_line(
    machine: FakeMetadata, clock: TwoClocks, session: bytes
) -> None:
    machine.replies["/latest/api/token"] = lambda _: web.Response(body=session)
    with pytest.raises(CloudError):
        await identities(machine, clock, AWS_REGION="eu-west-1").aws(CONTROLLER)

    assert len(machine.asked) == 1


# --- what the services document -------------------------------------------------------------------


async def test_an_instance_of_ec2(machine: FakeMetadata, clock: TwoClocks) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html"""

    def guarded(text: str) -> object:
        def reply(request: web.Request) -> web.Response:
            known = request.headers.get("X-aws-ec2-metadata-token") == "session"
            return web.Response(text=text, status=200 if known else 401)

        return reply

    base = "/latest/meta-data/iam/security-credentials/"
    document = (
        '{"Code": "Success", "LastUpdated": "2026-01-02T03:00:00Z", "Type": "AWS-HMAC",'
        ' "AccessKeyId": "ASIAIOSFODNN7EXAMPLE", "SecretAccessKey": "key", "Token": "token",'
        ' "Expiration": "2026-01-02T09:04:05Z"}'
    )
    machine.replies = {
        "/latest/api/token": lambda request: web.Response(
            text="session"
            if request.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"
            else ""
        ),
        base: guarded("s3access"),  # type: ignore[dict-item]  # a handler
        f"{base}s3access": guarded(document),  # type: ignore[dict-item]  # a handler
    }
    found = await identities(machine, clock, AWS_REGION="eu-west-1").aws(CONTROLLER)

    assert (found.access_key, found.secret_key) == ("ASIAIOSFODNN7EXAMPLE", "key")
    assert found.expires_at == datetime(2026, 1, 2, 9, 4, 5, tzinfo=UTC)
    assert machine.asked[0] == ("169.254.169.254", "PUT", "/latest/api/token")


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        (
            {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/0a1b-2c"},
            ("169.254.170.2", "/v2/credentials/0a1b-2c"),
        ),
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"},
            ("169.254.170.23", "/v1/credentials"),
        ),
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[fd00:ec2::23]/v1/credentials"},
            ("[fd00:ec2::23]", "/v1/credentials"),
        ),
    ],
    ids=["ECS", "EKS", "EKS by IPv6"],
)
async def test_a_container(
    machine: FakeMetadata,
    clock: TwoClocks,
    tmp_path: Path,
    environ: dict[str, str],
    place: tuple[str, str],
) -> None:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html"""
    host, path = place
    (tmp_path / "token").write_text("authorization\n")
    machine.replies[path] = lambda request: web.json_response(
        {
            "AccessKeyId": "ASIA",
            "SecretAccessKey": request.headers["Authorization"],
            "Token": "token",
            "Expiration": "2026-01-02T09:04:05Z",
        }
    )
    environ |= {
        "AWS_REGION": "eu-west-1",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
    }
    found = await identities(machine, clock, **environ).aws(CONTROLLER)

    assert found.secret_key == "authorization"
    assert machine.asked == [(host, "GET", path)]


async def test_a_managed_identity(machine: FakeMetadata, clock: TwoClocks) -> None:
    """https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token"""
    machine.replies["/metadata/identity/oauth2/token"] = lambda request: web.json_response(
        {
            "access_token": "eyJ0eXAi",
            "expires_in": "3599",
            "expires_on": "1767326644",
            "resource": request.query["resource"],
            "token_type": "Bearer",
        },
        status=200 if request.headers["Metadata"] == "true" else 400,
    )
    logins = identities(machine, clock, AZURE_CLIENT_ID="c11e")
    found = await logins.azure(CONTROLLER, scope="https://management.azure.com/.default")

    assert found.token == "eyJ0eXAi"
    assert found.expires_at == datetime(2026, 1, 2, 4, 4, 4, tzinfo=UTC)
    query = "resource=https%3A%2F%2Fmanagement.azure.com&client_id=c11e"
    assert machine.asked[0][2].endswith(f"?api-version=2018-02-01&{query}")


async def test_a_machine_of_google(machine: FakeMetadata, clock: TwoClocks) -> None:
    """https://cloud.google.com/compute/docs/access/authenticate-workloads#applications"""
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    machine.replies[path] = lambda request: web.json_response(
        {"access_token": "ya29.QQIBibTwvKkE39", "expires_in": 3599, "token_type": "Bearer"},
        status=200 if request.headers["Metadata-Flavor"] == "Google" else 403,
    )
    found = await identities(machine, clock).gcp(CONTROLLER)

    assert found.token == "ya29.QQIBibTwvKkE39"
    assert found.expires_at == datetime(2026, 1, 2, 4, 4, 4, tzinfo=UTC)

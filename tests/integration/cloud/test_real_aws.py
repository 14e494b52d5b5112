"""AWS as moto serves it: it reads requests, and checks signatures with Amazon's own library.

CodeCommit's password is compared with what that library computes.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from yarl import URL

from clouds.clocks import TwoClocks
from clouds.fake import Asked, FakeCloud, Reply
from clouds.kube import FakeAccounts
from fluvial.clock import RealClock
from fluvial.cloud.errors import LoginRefused
from fluvial.cloud.githosts import codecommit_password
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import CONTROLLER, AwsCredentials, ServiceAccount
from fluvial.cloud.registries import registry_login
from fluvial.cloud.sigv4 import Signer
from objectstores.moto import Moto, moto_server
from objectstores.programs import need_storage, serving

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
ROLE = "arn:aws:iam::123456789012:role/puller"
Make = Callable[..., CloudIdentities]

_BOTOCORE = """
import datetime, json, sys
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
given = json.load(sys.stdin)
request = AWSRequest(method="GIT", url=given["url"])
request.context["timestamp"] = given["stamp"]
auth = SigV4Auth(Credentials(given["access"], given["secret"]), "codecommit", given["region"])
text = "GIT\\n{path}\\n\\nhost:{host}\\n\\nhost\\n".format(**given)
print(auth.signature(auth.string_to_sign(request, text), request))
"""
_PRESIGNED = """
import datetime, json, sys
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
given = json.load(sys.stdin)
now = datetime.datetime.strptime(given["stamp"], "%Y%m%dT%H%M%SZ")
botocore.auth.get_current_datetime = lambda *_, **__: now
request = AWSRequest(method="GET", url=given["url"], headers={"x-k8s-aws-id": given["cluster"]})
keys = Credentials(given["access"], given["secret"], given["token"])
botocore.auth.SigV4QueryAuth(keys, "sts", "eu-west-1", expires=900).add_auth(request)
print(request.url)
"""


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with moto_server() as server:
        yield server


def pass_on(port: int) -> Callable[[Asked], Reply]:
    """Hands requests on as they are: the signed Host included."""

    def ask(asked: Asked) -> Reply:
        url = f"http://127.0.0.1:{port}{asked.path}"
        headers = {k: v for k, v in asked.headers.items() if k != "Accept-Encoding"}
        request = urllib.request.Request(url, asked.body, headers, method=asked.method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310  # ours
                return Reply(response.read(), response.status)
        except urllib.error.HTTPError as error:
            return Reply(error.read(), error.code)

    return ask


@pytest.fixture(scope="module")
def open_port() -> Iterator[int]:
    """A server that wants no signatures: who asks for a role's keys has none to sign with."""
    python = need_storage()
    with serving(
        [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        ready=r"Running on http://127\.0\.0\.1:(\d+)",
        env={},
    ) as port:
        yield port


@pytest.fixture
def ecr(cloud: FakeCloud, moto: Moto, clock: TwoClocks) -> FakeCloud:
    cloud.on("api.ecr.eu-west-1.amazonaws.com", "/", pass_on(moto.port))
    clock.wall = datetime(2014, 12, 31, tzinfo=UTC)  # moto's logins end with that year
    return cloud


def _environ(keys: AwsCredentials) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.session_token,
    }


async def test_a_wrong_key_opens_no_registry(ecr: FakeCloud, moto: Moto, make: Make) -> None:
    logins = make(_environ(replace(moto.keys, secret_key="x" * 40)))
    with pytest.raises(LoginRefused) as caught:
        await registry_login(logins, "aws", host=ECR, identity=CONTROLLER)

    assert "status 403" in str(caught.value)


async def test_a_registry_of_ecr(ecr: FakeCloud, moto: Moto, make: Make) -> None:
    login = await registry_login(make(_environ(moto.keys)), "aws", host=ECR, identity=CONTROLLER)

    assert login.username == "AWS"
    assert login.password
    assert login.expires_at is not None


async def test_a_role_of_a_service_account(
    cloud: FakeCloud, make: Make, accounts: FakeAccounts, clock: TwoClocks, open_port: int
) -> None:
    """moto takes any token; what it answers is what STS does."""
    cloud.on("sts.eu-west-1.amazonaws.com", "/", pass_on(open_port))
    clock.wall = RealClock().now()
    accounts.annotate("team-a", "puller", {"eks.amazonaws.com/role-arn": ROLE})
    found = await make().aws(ServiceAccount("team-a", "puller"), region="eu-west-1")

    assert found.access_key.startswith("ASIA")
    assert found.secret_key
    assert found.session_token
    assert found.expires_at is not None


@pytest.mark.slow
def test_codecommits_password_is_the_librarys() -> None:
    path = "/v1/repos/a.b-c_d"
    host = "git-codecommit.eu-west-1.amazonaws.com"
    keys = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    url = f"https://{host}{path}"
    now = TwoClocks().now()
    found = codecommit_password(keys, URL(url), region="eu-west-1", now=now)
    given = {
        "url": url,
        "host": host,
        "path": path,
        "region": "eu-west-1",
        "stamp": now.strftime("%Y%m%dT%H%M%S"),
        "access": keys.access_key,
        "secret": keys.secret_key,
    }
    expected = _ask_botocore(need_storage(), given)

    assert found.username == "AKIDEXAMPLE"
    assert found.password == f"20260102T030405Z{expected}"


@pytest.mark.slow
def test_an_address_that_stands_for_a_cluster_token_is_the_librarys() -> None:
    """Of the request that EKS sends to STS, with the name of the cluster in a signed header."""
    keys = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a/b+c=")
    url = "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"
    headers = {"x-k8s-aws-id": "my-cluster"}
    now = TwoClocks().now()
    signer = Signer(keys, "eu-west-1", "sts")
    found = signer.presign(URL(url, encoded=True), now=now, seconds=900, headers=headers)
    given = {
        "url": url,
        "stamp": now.strftime("%Y%m%dT%H%M%SZ"),
        "access": keys.access_key,
        "secret": keys.secret_key,
        "token": keys.session_token,
        "cluster": "my-cluster",
    }
    expected = URL(_ask_botocore(need_storage(), given, program=_PRESIGNED), encoded=True)

    assert dict(found.query) == dict(expected.query)


def _ask_botocore(python: Path, given: dict[str, str], *, program: str = _BOTOCORE) -> str:
    done = subprocess.run(
        [python, "-c", program],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    return done.stdout.strip()

"""AWS' services, as AWS documents them; see ``test_real_aws`` for what moto says.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_GetAuthorizationToken.html
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from clouds.clocks import TwoClocks
from clouds.fake import Asked, FakeCloud, Reply, json_reply
from clouds.kube import FakeAccounts
from fluvial.clock import format_time
from fluvial.cloud.errors import CloudError, InvalidIdentity, LoginUnreachable, NoIdentity
from fluvial.cloud.githosts import codecommit
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import CONTROLLER, ServiceAccount
from fluvial.cloud.registries import registry_login

Make = Callable[..., CloudIdentities]
STS = "sts.eu-west-1.amazonaws.com"
PUBLIC = "api.ecr-public.us-east-1.amazonaws.com"
ROLE = "arn:aws:iam::123456789012:role/path/puller"
TENANT = ServiceAccount("team-a", "puller")
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}
_ANSWER = """
<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
 <AssumeRoleWithWebIdentityResult>
  <SubjectFromWebIdentityToken>system:serviceaccount:a:b</SubjectFromWebIdentityToken>
  <Audience>sts.amazonaws.com</Audience>
  <Credentials>
   <SessionToken>{token}</SessionToken><SecretAccessKey>{key}</SecretAccessKey>
   <Expiration>{until}</Expiration><AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId>
  </Credentials>
 </AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


def answer(clock: TwoClocks, **change: str) -> Reply:
    until = format_time(clock.now() + timedelta(hours=1))
    values = {"token": "token", "key": "key", "until": until, **change}
    return Reply(_ANSWER.format(**values).encode())


@pytest.fixture
def sts(cloud: FakeCloud, clock: TwoClocks, accounts: FakeAccounts) -> FakeCloud:
    cloud.on(STS, "/", answer(clock))
    accounts.annotate("team-a", "puller", {"eks.amazonaws.com/role-arn": ROLE})
    return cloud


# --- what must fail -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "role",
    [
        "",
        "puller",
        "arn:aws:iam::123456789012:user/puller",
        "arn:aws:iam::x:role/puller",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:role/a\nb",
        "arn:evil:iam::123456789012:role/puller",
    ],
)
async def test_a_role_is_an_arn(
    cloud: FakeCloud, make: Make, accounts: FakeAccounts, role: str
) -> None:
    accounts.annotate("team-a", "puller", {"eks.amazonaws.com/role-arn": role})
    with pytest.raises(InvalidIdentity, match=r"eks\.amazonaws\.com/role-arn"):
        await make().aws(TENANT, region="eu-west-1")

    assert (cloud.asked, accounts.requests) == ([], [])


@pytest.mark.parametrize(
    "change",
    [{"token": ""}, {"key": ""}, {"until": "tomorrow"}, {"until": "2020-01-01T00:00:00Z"}],
    ids=["no token", "no key", "no time", "expired"],
)
async def test_keys_that_are_none(
    sts: FakeCloud, make: Make, clock: TwoClocks, change: dict[str, str]
) -> None:
    sts.on(STS, "/", answer(clock, **change))
    logins = make()
    with pytest.raises(LoginUnreachable):
        await logins.aws(TENANT, region="eu-west-1")

    assert len(logins.cache) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"<AssumeRoleWithWebIdentityResponse>",
    ],
)
async def test_an_answer_that_is_none(sts: FakeCloud, make: Make, body: bytes) -> None:
    sts.on(STS, "/", Reply(body))
    with pytest.raises(LoginUnreachable, match="not valid"):
        await make().aws(TENANT, region="eu-west-1")


async def test_without_a_region_nobody_is_asked(cloud: FakeCloud, make: Make) -> None:
    with pytest.raises(NoIdentity, match="AWS_REGION"):
        await make(KEYS).aws(CONTROLLER)
    with pytest.raises(InvalidIdentity):
        await make(KEYS).aws(CONTROLLER, region="evil.example/")

    assert cloud.asked == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"authorizationData": []},
        {"authorizationData": {"authorizationToken": "!!", "expiresAt": 1}},
        {"authorizationData": {"authorizationToken": "", "expiresAt": 1}},
        {"authorizationData": {"authorizationToken": base64.b64encode(b"AWS").decode()}},
        {
            "authorizationData": {
                "authorizationToken": base64.b64encode(b"AWS:").decode(),
                "expiresAt": 1893456000,
            }
        },
        {
            "authorizationData": {
                "authorizationToken": base64.b64encode(b"AWS:p").decode(),
                "expiresAt": 1,
            }
        },
    ],
    ids=["nothing", "empty", "no base64", "no token", "no colon", "no password", "expired"],
)
async def test_a_registry_login_that_is_none(
    cloud: FakeCloud, make: Make, data: dict[str, Any]
) -> None:
    cloud.on(PUBLIC, "/", json_reply(data))
    with pytest.raises(CloudError):
        await registry_login(make(KEYS), "aws", host="public.ecr.aws", identity=CONTROLLER)


# --- what is documented ---------------------------------------------------------------------------


async def test_a_role_of_the_controller(
    sts: FakeCloud, make: Make, tmp_path: Path, clock: TwoClocks
) -> None:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html"""
    (tmp_path / "token").write_text("first\n")
    environ = {
        "AWS_REGION": "eu-west-1",
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_ROLE_SESSION_NAME": "source controller",
    }
    logins = make(environ)
    found = await logins.aws(CONTROLLER)
    await logins.aws(CONTROLLER)
    (tmp_path / "token").write_text("second")
    clock.step(2880)
    sts.on(STS, "/", answer(clock))
    await logins.aws(CONTROLLER)

    assert (found.access_key, found.secret_key) == ("ASgeIAIOSFODNN7EXAMPLE", "key")
    assert [asked.form["WebIdentityToken"] for asked in sts.asked] == ["first", "second"]
    assert sts.asked[0].headers["Accept"] == "text/xml"
    assert sts.asked[0].form == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "source-controller",
        "WebIdentityToken": "first",
    }


async def test_keys_of_the_environment_come_first(cloud: FakeCloud, make: Make) -> None:
    environ = {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1", "AWS_SESSION_TOKEN": "t"}
    found = await make(environ).aws(CONTROLLER)

    assert (found.access_key, found.secret_key, found.session_token) == ("AKIA", "secret", "t")
    assert cloud.asked == []


async def test_every_region_has_its_own_keys(sts: FakeCloud, make: Make, clock: TwoClocks) -> None:
    sts.on("sts.us-east-1.amazonaws.com", "/", answer(clock, token="other"))
    logins = make()
    first = await logins.aws(TENANT, region="eu-west-1")

    assert (await logins.aws(TENANT, region="us-east-1")).session_token == "other"
    assert await logins.aws(TENANT, region="eu-west-1") == first
    assert len(sts.asked) == 2


async def test_an_endpoint_of_a_private_network(
    sts: FakeCloud, make: Make, clock: TwoClocks
) -> None:
    host = "vpce-0a1b.sts.eu-west-1.vpce.amazonaws.com"
    sts.dialer.leads[host] = sts.port
    with pytest.raises(LoginUnreachable, match="certificate"):  # asked, by that name
        await make().aws(TENANT, region="eu-west-1", sts_endpoint=f"https://{host}")
    with pytest.raises(InvalidIdentity):
        await make().aws(TENANT, region="eu-west-1", sts_endpoint="https://evil.example")

    assert sts.asked == []


async def test_the_public_registry(cloud: FakeCloud, make: Make, clock: TwoClocks) -> None:
    def reply(asked: Asked) -> Reply:
        data = {
            "authorizationToken": base64.b64encode(b"AWS:public").decode(),
            "expiresAt": (clock.now() + timedelta(hours=12)).timestamp(),
        }
        signed = "/us-east-1/ecr-public/aws4_request" in asked.headers["Authorization"]
        known = asked.headers["X-Amz-Target"] == "SpencerFrontendService.GetAuthorizationToken"
        return json_reply({"authorizationData": data}, 200 if signed and known else 400)

    cloud.on(PUBLIC, "/", reply)
    logins = make(KEYS)
    logged_in = [
        await registry_login(logins, "aws", host="public.ecr.aws", identity=CONTROLLER)
        for _ in range(2)
    ]
    clock.step(3600)
    await registry_login(logins, "aws", host="public.ecr.aws", identity=CONTROLLER)

    assert {(login.username, login.password) for login in logged_in} == {("AWS", "public")}
    assert len(cloud.asked) == 2, "an hour is the longest"


async def test_a_password_of_codecommit_is_of_one_repository(
    cloud: FakeCloud, make: Make, clock: TwoClocks
) -> None:
    logins = make(KEYS)
    base = URL("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/")
    first = await codecommit(logins, base / "one", identity=CONTROLLER)
    clock.step(60)
    again = await codecommit(logins, base / "one", identity=CONTROLLER)
    other = await codecommit(logins, base / "two", identity=CONTROLLER)
    clock.step(660)
    later = await codecommit(logins, base / "one", identity=CONTROLLER)

    assert first == again
    assert len({first.password, other.password, later.password}) == 3
    assert first.expires_at is not None
    assert later.username == "AKIA"
    assert cloud.asked == []

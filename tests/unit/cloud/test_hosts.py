"""A cloud's credentials are for its own hosts and for no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from yarl import URL

from fluvial.cloud.aws import check_region, check_sts_endpoint, domain_of
from fluvial.cloud.errors import CloudError, InvalidIdentity, WrongHost
from fluvial.cloud.githosts import azure_devops, codecommit, codecommit_password
from fluvial.cloud.github import GitHubApp
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import CONTROLLER, AwsCredentials
from fluvial.cloud.registries import RegistryProvider, check_registry

NOBODY = cast("CloudIdentities", None)
"""Who logs in has a bug."""


@pytest.mark.parametrize(
    "url",
    [
        "https://git-codecommit.eu-west-1.amazonaws.com.evil.example/v1/repos/app",
        "https://evil.example/git-codecommit.eu-west-1.amazonaws.com/app",
        "https://evil-git-codecommit.eu-west-1.amazonaws.com/v1/repos/app",
        "https://x.git-codecommit.eu-west-1.amazonaws.com/v1/repos/app",
        "https://git-codecommit.eu-west-1.amazonaws.com:8443/v1/repos/app",
        "https://git-codecommit.eu-west-1.amazonaws.com@evil.example/v1/repos/app",
        "https://user@git-codecommit.eu-west-1.amazonaws.com/v1/repos/app",
        "http://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app",
        "https://git-codecommit.EU.amazonaws.com/v1/repos/app",
        "https://git-codecommit.eu-west-1.x.amazonaws.com/v1/repos/app",
        "https://git-codecommit.eu-west-1xamazonaws.com/v1/repos/app",
    ],
)
async def test_codecommit_is_no_other_host(url: str) -> None:
    with pytest.raises(WrongHost):
        await codecommit(NOBODY, URL(url), identity=CONTROLLER)


@pytest.mark.parametrize(
    "url",
    [
        "https://dev.azure.com.evil.example/o/p/_git/r",
        "https://evil-dev.azure.com/o/p/_git/r",
        "https://devxazure.com/o/p/_git/r",
        "https://a.b.visualstudio.com/p/_git/r",
        "https://visualstudio.com/p/_git/r",
        "https://dev.azure.com:444/o/p/_git/r",
        "https://user@dev.azure.com/o/p/_git/r",
        "http://dev.azure.com/o/p/_git/r",
    ],
)
async def test_azure_devops_is_no_other_host(url: str) -> None:
    with pytest.raises(WrongHost):
        await azure_devops(NOBODY, URL(url), identity=CONTROLLER)


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("aws", "evil.example"),
        ("aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example"),
        ("aws", "x123456789012.dkr.ecr.eu-west-1.amazonaws.com"),
        ("aws", "12345678901.dkr.ecr.eu-west-1.amazonaws.com"),
        ("aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com:5000"),
        ("aws", "123456789012.dkr.ecr.eu-west-1/evil.amazonaws.com"),
        ("aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com\n"),
        ("aws", "public.ecr.aws.evil.example"),
        ("aws", "evil.public.ecr.aws"),
        ("aws", "team.azurecr.io"),
        ("azure", "azurecr.io"),
        ("azure", "azurecr.io.evil.example"),
        ("azure", "team.azurecr.example"),
        ("azure", "a..azurecr.io"),
        ("azure", "teamazurecr.io"),
        ("azure", "team.azurecr.io:443"),
        ("azure", "gcr.io"),
        ("gcp", "evilgcr.io"),
        ("gcp", "a.b.gcr.io"),
        ("gcp", "gcr.io.evil.example"),
        ("gcp", "docker.pkg.dev"),
        ("gcp", "europe-docker.pkg.dev.evil.example"),
        ("gcp", "x.europe-docker.pkg.dev"),
        ("gcp", "public.ecr.aws"),
    ],
)
def test_a_registry_is_no_other_host(provider: RegistryProvider, host: str) -> None:
    with pytest.raises(WrongHost):
        check_registry(provider, host)


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("aws", "123456789012.dkr.ecr.eu-central-1.amazonaws.com"),
        ("aws", "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com"),
        ("aws", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"),
        ("aws", "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"),
        ("aws", "public.ecr.aws"),
        ("azure", "team.azurecr.io"),
        ("azure", "team-ab12cd34.azurecr.io"),
        ("azure", "team.westeurope.geo.azurecr.io"),
        ("azure", "team.azurecr.cn"),
        ("azure", "team.azurecr.us"),
        ("gcp", "gcr.io"),
        ("gcp", "eu.gcr.io"),
        ("gcp", "europe-west1-docker.pkg.dev"),
    ],
)
def test_these_are_the_clouds_own(provider: RegistryProvider, host: str) -> None:
    check_registry(provider, host)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://sts.amazonaws.com",
        "https://sts.amazonaws.com.evil.example",
        "https://evil.example/sts.amazonaws.com",
        "https://user@sts.amazonaws.com",
        "https://evilsts.amazonaws.com",
        "https://sts.eu-west-1.amazonaws.com:8443",
        "https://s3.amazonaws.com",
    ],
)
def test_an_sts_endpoint_is_of_aws(endpoint: str) -> None:
    with pytest.raises(InvalidIdentity):
        check_sts_endpoint(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://sts.amazonaws.com",
        "https://sts.eu-west-1.amazonaws.com",
        "https://sts-fips.us-east-1.amazonaws.com",
        "https://vpce-0a1b-2c.sts.eu-west-1.vpce.amazonaws.com",
    ],
)
def test_these_are(endpoint: str) -> None:
    assert check_sts_endpoint(f"{endpoint}/") == endpoint


def test_a_password_ends_with_the_keys_that_made_it() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    url = URL("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app")
    ends = [
        codecommit_password(
            AwsCredentials("a", "b", "c", expires_at=end), url, region="eu-west-1", now=now
        ).expires_at
        for end in (None, now + timedelta(hours=1), now + timedelta(minutes=5))
    ]

    assert ends == [now + timedelta(minutes=minutes) for minutes in (15, 15, 5)]


@pytest.mark.parametrize(
    ("region", "domain"),
    [
        ("eu-west-1", "amazonaws.com"),
        ("us-gov-east-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("us-iso-east-1", "c2s.ic.gov"),
        ("us-isob-east-1", "sc2s.sgov.gov"),
        ("us-isof-south-1", "csp.hci.ic.gov"),
        ("eu-isoe-west-1", "cloud.adc-e.uk"),
    ],
)
def test_regions_are_in_domains(region: str, domain: str) -> None:
    """https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html"""
    assert domain_of(check_region(region)) == domain


@pytest.mark.parametrize("region", ["", "eu", "eu-west-1.evil.example", "eu-west-1/", "EU-WEST-1"])
def test_a_region_is_only_a_name(region: str) -> None:
    with pytest.raises(InvalidIdentity):
        check_region(region)


@pytest.mark.parametrize(
    ("app", "text"),
    [
        (GitHubApp("", "key", "1"), "githubAppID"),
        (GitHubApp("1/../2", "key", "1"), "githubAppID"),
        (GitHubApp("1", " ", "1"), "is empty"),
        (GitHubApp("1", "key"), "exactly one"),
        (GitHubApp("1", "key", "1", "org"), "exactly one"),
        (GitHubApp("1", "key", "../x"), "must be a number"),
        (GitHubApp("1", "key", owner="org/../x"), "organisation or user"),
        (GitHubApp("1", "key", "1", base_url="http://github.corp.example"), "https"),
        (GitHubApp("1", "key", "1", base_url="https://user@github.corp.example"), "https"),
        (GitHubApp("1", "key", "1", base_url="https://github.corp.example/?a"), "https"),
        (GitHubApp("1", "key", "1", base_url="https://[::1"), "https"),
    ],
)
def test_what_is_wrong_with_an_app_is_said(app: GitHubApp, text: str) -> None:
    with pytest.raises(CloudError, match=text):
        app.check()

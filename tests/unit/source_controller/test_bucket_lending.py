"""Which hosts may be shown what is not the object's own."""

from __future__ import annotations

import pytest
from yarl import URL

from fluvial.api.source_bucket import BucketProvider, BucketSpec
from fluvial.cloud.model import CONTROLLER, Identity, ServiceAccount
from fluvial.net.tls import Tls
from source_controller.bucket.access import BucketAccess
from source_controller.bucket.lending import check_lent
from source_controller.source.run import StepFailed


def _check(
    provider: BucketProvider,
    url: str,
    access: BucketAccess | None = None,
    identity: Identity = CONTROLLER,
) -> None:
    spec = BucketSpec(bucket_name="b", endpoint="e", interval="1m", provider=provider)
    check_lent(spec, access or BucketAccess(), URL(url), identity)


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("aws", "s3.amazonaws.com"),
        ("aws", "s3.eu-west-1.amazonaws.com"),
        ("aws", "s3-eu-west-1.amazonaws.com"),
        ("aws", "s3.dualstack.us-gov-west-1.amazonaws.com"),
        ("aws", "s3-fips.us-east-2.amazonaws.com"),
        ("aws", "s3.cn-north-1.amazonaws.com.cn"),
        ("aws", "bucket.vpce-0a1b2c-3d4e.s3.us-east-1.vpce.amazonaws.com"),
        ("gcp", "storage.googleapis.com"),
        ("gcp", "storage.europe-west3.rep.googleapis.com"),
        ("gcp", "storage-team.p.googleapis.com"),
        ("azure", "teama.blob.core.windows.net"),
        ("azure", "teama.z12.blob.storage.azure.net"),
        ("azure", "teama-secondary.blob.core.windows.net"),
        ("azure", "teama.privatelink.blob.core.windows.net"),
        ("azure", "teama.blob.core.usgovcloudapi.net"),
    ],
)
def test_hosts_of_the_cloud_are_trusted(provider: BucketProvider, host: str) -> None:
    _check(provider, f"https://{host}")
    with pytest.raises(StepFailed, match="for https and for hosts of that cloud only"):
        _check(provider, f"http://{host}")
    _check(provider, f"https://{host}", BucketAccess(tls=Tls(certificate="x", key="y")))
    ours = BucketAccess(tls=Tls(ca="x"))
    with pytest.raises(StepFailed, match="exclude each other"):
        _check(provider, f"https://{host}", ours)
    _check(provider, f"https://{host}", ours, ServiceAccount("apps", "robot"))


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("aws", "storage.googleapis.com"),
        ("aws", "s3.amazonaws.com.evil.example"),
        ("aws", "evil.s3.amazonaws.com.evil.example"),
        ("aws", "s3.eu-west-1.elb.amazonaws.com"),
        ("aws", "s3-evil-123.eu-west-1.elb.amazonaws.com"),
        ("aws", "ec2-1-2-3-4.eu-west-1.compute.amazonaws.com"),
        ("aws", "xs3.amazonaws.com"),
        ("gcp", "googleapis.com.evil.example"),
        ("gcp", "evilgoogleapis.com"),
        ("gcp", "googleapis.com"),
        ("azure", "evil.cloudapp.azure.com"),
        ("azure", "evil.azurewebsites.net"),
        ("azure", "a.blob.core.windows.net.evil.example"),
        ("azure", "xblob.core.windows.net"),
        ("azure", "127.0.0.1"),
    ],
)
def test_other_hosts_are_not(provider: BucketProvider, host: str) -> None:
    with pytest.raises(StepFailed, match="for https and for hosts of that cloud only") as error:
        _check(provider, f"https://{host}")

    assert error.value.reason == "AuthenticationFailed"

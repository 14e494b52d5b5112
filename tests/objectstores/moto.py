"""S3, IAM and STS by moto's server, which checks signatures with Amazon's own library."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from yarl import URL

from fluvial.cloud.model import AwsCredentials
from fluvial.cloud.sigv4 import Signer
from objectstores.programs import need_storage, serving

__all__ = ["Moto", "moto_server"]

_POLICY = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"},
}
_ROLE = "arn:aws:iam::123456789012:role/test"


@dataclass(frozen=True)
class Moto:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        keys: of a user who may do everything.

    """

    port: int
    keys: AwsCredentials

    @property
    def endpoint(self) -> str:
        """For ``spec.endpoint``."""
        return f"127.0.0.1:{self.port}"

    @property
    def secret(self) -> dict[str, str]:
        """For ``spec.secretRef``."""
        return {"accesskey": self.keys.access_key, "secretkey": self.keys.secret_key}

    def assume_role(self) -> AwsCredentials:
        """Temporary keys, as a role gets them."""
        fields = {"Action": "AssumeRole", "RoleArn": _ROLE, "RoleSessionName": "test"}
        body = urlencode({"Version": "2011-06-15", **fields}).encode()
        url = URL(f"http://127.0.0.1:{self.port}/")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        signer = Signer(self.keys, "us-east-1", "sts")
        signed = signer.sign("POST", url, now=datetime.now(UTC), headers=headers, body=body)
        answer = _ask("POST", str(url), body, signed)
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        access, secret, session = (_between(answer, name) for name in names)
        return AwsCredentials(access, secret, session)

    def make_bucket(self, name: str, *, region: str = "us-east-1") -> None:
        """An empty bucket."""
        body = ""
        if region != "us-east-1":
            body = (
                "<CreateBucketConfiguration><LocationConstraint>"
                f"{region}</LocationConstraint></CreateBucketConfiguration>"
            )
        self._send("PUT", f"/{name}", body.encode(), region=region)

    def put(self, bucket: str, key: str, content: bytes | str) -> None:
        """Write an object."""
        data = content.encode() if isinstance(content, str) else content
        self._send("PUT", f"/{bucket}/{quote(key, safe='/~')}", data)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        self._send("DELETE", f"/{bucket}/{quote(key, safe='/~')}", b"")

    def _send(self, method: str, path: str, body: bytes, *, region: str = "us-east-1") -> None:
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        signer = Signer(self.keys, region, "s3")
        headers = signer.sign(method, url, now=datetime.now(UTC), body=body)
        headers.setdefault("Content-Type", "binary/octet-stream")
        _ask(method, str(url), body, headers)


@contextmanager
def moto_server() -> Iterator[Moto]:
    """A server that lets nobody in without a signature that it can check."""
    python = need_storage()
    with serving(
        [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        ready=r"Running on http://127\.0\.0\.1:(\d+)",
        env={"INITIAL_NO_AUTH_ACTION_COUNT": "5"},
    ) as port:
        base = f"http://127.0.0.1:{port}"
        _iam(base, Action="CreateUser", UserName="test")
        _iam(
            base,
            Action="PutUserPolicy",
            UserName="test",
            PolicyName="all",
            PolicyDocument=json.dumps(_POLICY),
        )
        _iam(
            base,
            Action="CreateRole",
            RoleName="test",
            AssumeRolePolicyDocument=json.dumps(_POLICY),
        )
        _iam(
            base,
            Action="PutRolePolicy",
            RoleName="test",
            PolicyName="all",
            PolicyDocument=json.dumps(_POLICY),
        )
        answer = _iam(base, Action="CreateAccessKey", UserName="test")
        access = _between(answer, "AccessKeyId")
        secret = _between(answer, "SecretAccessKey")
        yield Moto(port, AwsCredentials(access, secret))


def _iam(base: str, **fields: str) -> str:
    data = urlencode({"Version": "2010-05-08", **fields}).encode()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, "
        "SignedHeaders=host, Signature=x",
    }
    return _ask("POST", base, data, headers)


def _ask(method: str, url: str, body: bytes, headers: dict[str, str]) -> str:
    request = urllib.request.Request(url, data=body, method=method, headers=headers)  # noqa: S310  # ours
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310  # ours
        text: str = response.read().decode()
    return text


def _between(text: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]+)</{name}>", text)
    assert found, text
    return found[1]

"""HelmRepository: who it is for the host, and what it trusts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fluvial.kube import kinds
from gitservers.certs import TestCA
from harness.source import SourceWorld, condition
from harness.webserver import FileHost, requiring_certificate

INDEX = "apiVersion: v1\nentries:\n  app:\n  - {name: app, version: 1.0.0, urls: [app-1.0.0.tgz]}\n"


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    folder = tmp_path / "charts"
    folder.mkdir()
    (folder / "index.yaml").write_text(INDEX)
    return folder


@pytest.fixture
def helm(world: SourceWorld) -> SourceWorld:
    return world.of(kinds.HELM_REPOSITORY)


@pytest.mark.shows("field:HelmRepository/spec.secretRef.name")
async def test_user_and_password_of_a_secret(helm: SourceWorld, charts: Path) -> None:
    async with FileHost(charts) as host:
        host.basic = ("dev", "s3:cret")
        await helm.make(url=host.url)
        obj = await helm.until_failed("Failed")
        assert condition(obj, "FetchFailed")["message"].endswith("401 Unauthorized")
        await helm.secret("creds", {"username": "dev", "password": "s3:cret"})
        await helm.make(url=host.url, secretRef={"name": "creds"})
        await helm.until_ready()


@pytest.mark.shows("HelmRepository/FetchFailed/AuthenticationFailed")
async def test_secrets_that_do_not_do(helm: SourceWorld, charts: Path) -> None:
    cases: list[tuple[dict[str, str] | None, str]] = [
        (None, "secret 'apps/creds-0' not found"),
        ({"username": "dev"}, "has no 'password'"),
        ({"password": "s3cret"}, "has no 'username'"),
        ({"username": "", "password": "s3cret"}, "has no 'username'"),
        ({"tls.crt": "s3cret"}, "'tls.crt' is set without 'tls.key'"),
        ({"ca.crt": "s3cret"}, "'ca.crt' holds no certificate"),
        ({"tls.crt": "s3cret", "tls.key": "s3cret"}, "belong together"),
    ]
    async with FileHost(charts) as host:
        for number, (values, _) in enumerate(cases):
            secret = f"creds-{number}"
            if values is not None:
                await helm.secret(secret, values)
            await helm.make(f"app-{number}", url=host.url, secretRef={"name": secret})
        for number, (_, message) in enumerate(cases):
            obj = await helm.until_failed("AuthenticationFailed", f"app-{number}")
            told = condition(obj, "FetchFailed")["message"]
            assert message in told
            assert "s3cret" not in told
        assert host.requests == []
        await helm.secret("creds-0", {"username": "dev", "password": "s3cret"})
        await helm.until_ready("app-0")  # tried again under backoff


async def test_a_secret_without_any_of_it_changes_nothing(helm: SourceWorld, charts: Path) -> None:
    await helm.secret("creds", {"else": "x"})
    async with FileHost(charts) as host:
        await helm.make(url=host.url, secretRef={"name": "creds"})
        await helm.until_ready()

    assert host.authorizations == [""]


async def test_a_name_cannot_leave_the_namespace(helm: SourceWorld, charts: Path) -> None:
    async with FileHost(charts) as host:
        for field in ("secretRef", "certSecretRef"):
            reference: dict[str, Any] = {field: {"name": "../../kube-system/secrets/x"}}
            await helm.make(field.lower(), url=host.url, **reference)
            obj = await helm.until_failed("AuthenticationFailed", field.lower())
            assert "invalid name" in condition(obj, "FetchFailed")["message"]

    assert host.requests == []


@pytest.mark.shows("field:HelmRepository/spec.certSecretRef.name")
async def test_the_authority_of_a_secret_is_trusted(
    helm: SourceWorld, charts: Path, tmp_path: Path
) -> None:
    ca = TestCA()
    async with FileHost(charts, tls=ca.server_context(tmp_path)) as host:
        await helm.make(url=host.url)
        obj = await helm.until_failed("Failed")
        assert "certificate is not trusted" in condition(obj, "FetchFailed")["message"]
        await helm.secret("ca", {"ca.crt": ca.pem})
        await helm.make(url=host.url, certSecretRef={"name": "ca"})
        await helm.until_ready()
        await helm.make("other", url=host.url)
        await helm.until_failed("Failed", "other")

    assert len(host.requests) >= 1, "one trusts it, and nobody else does"


async def test_a_client_certificate_opens_the_host(
    helm: SourceWorld, charts: Path, tmp_path: Path
) -> None:
    """In either Secret, by new and by old names."""
    ca = TestCA()
    strict = requiring_certificate(ca.server_context(tmp_path), ca.pem)
    values = (ca.pem, *ca.pair())
    await helm.secret("new", dict(zip(("ca.crt", "tls.crt", "tls.key"), values, strict=True)))
    await helm.secret("old", dict(zip(("caFile", "certFile", "keyFile"), values, strict=True)))
    async with FileHost(charts, tls=strict) as host:
        for field in ("certSecretRef", "secretRef"):
            for secret in ("new", "old"):
                name = f"{field.lower()}-{secret}"
                reference: dict[str, Any] = {field: {"name": secret}}
                # Equal ones would share one download.
                await helm.make(name, url=f"{host.url}?{name}", **reference)
                await helm.until_ready(name)

    assert host.certified == [True] * 4


async def test_the_certificate_secret_wins(helm: SourceWorld, charts: Path, tmp_path: Path) -> None:
    ca = TestCA()
    await helm.secret("right", {"ca.crt": ca.pem})
    await helm.secret("wrong", {"ca.crt": TestCA().pem, "username": "dev", "password": "s3cret"})
    references: dict[str, Any] = {
        "certSecretRef": {"name": "right"},
        "secretRef": {"name": "wrong"},
    }
    async with FileHost(charts, tls=ca.server_context(tmp_path)) as host:
        host.basic = ("dev", "s3cret")
        await helm.make(url=host.url, **references)
        await helm.until_ready()


async def test_credentials_stay_at_home(helm: SourceWorld, charts: Path, tmp_path: Path) -> None:
    """Also where they may be passed on: a redirect is the host's decision, not the user's."""
    await helm.secret("creds", {"username": "dev", "password": "s3cret"})
    async with FileHost(charts) as home, FileHost(charts) as other:
        home.redirects = {"/index.yaml": f"{other.url}/index.yaml?signed=s3cret"}
        await helm.make(url=home.url, secretRef={"name": "creds"}, passCredentials=True)
        await helm.until_ready()
        assert home.authorizations[0].startswith("Basic ")
        assert other.authorizations == [""]
        other.status = 403
        await helm.request("now")
        obj = await helm.until_failed("Failed")

    assert "s3cret" not in str(obj["status"])


async def test_credentials_in_the_address_are_used_and_shown_to_nobody_else(
    helm: SourceWorld, charts: Path
) -> None:
    async with FileHost(charts) as host:
        host.basic = ("dev", "s3/cret")
        await helm.make(url=host.url.replace("://", "://dev:s3%2Fcret@"))
        ready = await helm.until_ready()
        events = [await helm.until_event("NewArtifact")]
        host.status = 500
        await helm.request("down")
        failed = await helm.until_failed("Failed")
        events.append(await helm.until_event("Failed"))

    for told in (str(ready["status"]), str(failed["status"]), str(events)):
        assert "cret" not in told.replace("Secret", "")
        assert "dev:" not in told


async def test_a_secret_beats_the_address(helm: SourceWorld, charts: Path) -> None:
    await helm.secret("creds", {"username": "dev", "password": "right"})
    async with FileHost(charts) as host:
        host.basic = ("dev", "right")
        url = host.url.replace("://", "://dev:wrong@")
        await helm.make(url=url, secretRef={"name": "creds"})
        await helm.until_ready()

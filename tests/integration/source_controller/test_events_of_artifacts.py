"""What events of GitRepository carry for those who read them by program."""

from __future__ import annotations

import pytest

from fluvial.kube.errors import Invalid
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.source import SourceWorld, condition

GROUP = "source.toolkit.fluxcd.io"


@pytest.mark.shows("event:GitRepository/NewArtifact")
async def test_a_new_artifact_is_told_with_revision_and_digest(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git")
    artifact = (await world.until_ready())["status"]["artifact"]
    event = await world.until_event("NewArtifact")

    found = event["metadata"]["annotations"]
    assert found[f"{GROUP}/revision"] == artifact["revision"]
    assert found[f"{GROUP}/digest"] == artifact["digest"]


@pytest.mark.shows("event:GitRepository/Succeeded")
async def test_a_recovery_is_told_with_revision_and_digest(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git")
    artifact = (await world.until_ready())["status"]["artifact"]
    http_server.status = 503
    await world.request("down")
    await world.until_failed("GitOperationFailed")
    http_server.status = 0
    await world.request("up")
    await world.until_ready()
    event = await world.until_event("Succeeded")

    found = event["metadata"]["annotations"]
    assert found[f"{GROUP}/revision"] == artifact["revision"]
    assert found[f"{GROUP}/digest"] == artifact["digest"]


@pytest.mark.shows("field:GitRepository/spec.provider")
async def test_the_generic_provider_is_the_same_as_none(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    http_server.basic = ("dev", "s3cret")
    await world.secret("creds", {"username": "dev", "password": "s3cret"})
    await world.repository(
        url=f"{http_server.url}/app.git", provider="generic", secretRef={"name": "creds"}
    )
    obj = await world.until_ready()

    assert not condition(obj, "Stalled")
    assert "app.yaml" in await world.files(obj)


async def test_no_secret_is_in_the_log_of_what_fails_and_succeeds(
    world: SourceWorld,
    repo: Repo,
    http_server: GitHttpServer,
    capfd: pytest.CaptureFixture[str],
) -> None:
    http_server.basic = ("dev", "s3cret-right")
    await world.secret("creds", {"username": "dev", "password": "s3cret-wrong"})
    await world.repository(url=f"{http_server.url}/app.git", secretRef={"name": "creds"})
    await world.until_failed("GitOperationFailed")
    await world.until_event("GitOperationFailed")
    await world.secret("creds", {"username": "dev", "password": "s3cret-right"})
    await world.request("again")
    obj = await world.until_ready()
    event = await world.until_event("NewArtifact")
    shown = "".join(capfd.readouterr())

    assert "GitOperationFailed" in shown
    assert "s3cret" not in shown
    assert "s3cret" not in str((obj["status"], event))


async def test_a_service_account_without_a_provider_is_refused_by_the_crd(
    world: SourceWorld,
) -> None:
    with pytest.raises(Invalid, match="serviceAccountName can only be set"):
        await world.repository(url="https://git.example/app.git", serviceAccountName="robot")

"""Signatures of commits and tags decide whether a revision becomes an artifact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitservers.http import GitHttpServer
from gitservers.repos import Repo, git
from gitservers.ssh import make_key
from harness.source import SourceWorld, condition


@dataclass
class Author:
    """Signs with git and OpenSSH."""

    private: Path
    public: str

    def signs(self, repo: Repo, *, commits: bool = True) -> None:
        for key, value in {
            "gpg.format": "ssh",
            "user.signingkey": str(self.private),
            "commit.gpgsign": str(commits).lower(),
        }.items():
            git(repo.work, "config", key, value)


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return _author(tmp_path, "author")


def _author(folder: Path, name: str) -> Author:
    _, public = make_key(folder / name)
    return Author(folder / name, public)


def _verify(mode: str = "HEAD") -> dict[str, Any]:
    return {"mode": mode, "secretRef": {"name": "keys"}}


# --- what must not pass ---------------------------------------------------------------------------


@pytest.mark.shows("GitRepository/SourceVerified/InvalidCommitSignature")
async def test_a_commit_without_a_trusted_signature_is_no_artifact(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, author: Author, tmp_path: Path
) -> None:
    await world.secret("keys", {"author.sshpub": author.public})
    await world.repository(url=f"{http_server.url}/app.git", verify=_verify())
    obj = await world.until_failed("InvalidCommitSignature")
    verified = condition(obj, "SourceVerified")

    assert verified["status"] == "False"
    assert "failed: it is not signed" in verified["message"]
    assert "artifact" not in obj["status"]
    assert not condition(obj, "FetchFailed")

    _author(tmp_path, "stranger").signs(repo)
    repo.commit({"app.yaml": "evil\n"})
    await world.request("again")
    obj = await world.until_handled("again")

    assert "unknown SSH key SHA256:" in condition(obj, "SourceVerified")["message"]
    assert "artifact" not in obj["status"]
    warning = await world.until_event("InvalidCommitSignature")
    assert warning["type"] == "Warning"


async def test_a_verified_artifact_stays_when_an_unsigned_commit_follows(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, author: Author
) -> None:
    author.signs(repo)
    good = repo.commit({"app.yaml": "good\n"})
    await world.secret("keys", {"author.sshpub": author.public})
    await world.repository(url=f"{http_server.url}/app.git", verify=_verify())
    await world.until_ready(revision=f"main@sha1:{good}")
    author.signs(repo, commits=False)
    repo.commit({"app.yaml": "unsigned\n"})
    await world.request("now")
    obj = await world.until_failed("InvalidCommitSignature")

    assert obj["status"]["artifact"]["revision"] == f"main@sha1:{good}"
    assert await world.files(obj) == {"app.yaml": "good\n", "deploy/run.sh": "#!/bin/sh\n"}


async def test_a_key_that_is_taken_out_loses_its_force_without_a_new_commit(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, author: Author, tmp_path: Path
) -> None:
    author.signs(repo)
    repo.commit({"app.yaml": "good\n"})
    await world.secret("keys", {"author.sshpub": author.public})
    await world.repository(url=f"{http_server.url}/app.git", verify=_verify())
    await world.until_ready()
    await world.secret("keys", {"author.sshpub": _author(tmp_path, "other").public})
    await world.run_now()

    assert (
        condition(await world.until_failed("InvalidCommitSignature"), "SourceVerified")["status"]
        == "False"
    )


@pytest.mark.shows("GitRepository/SourceVerified/VerificationError")
async def test_without_the_secret_nothing_is_fetched(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git", verify=_verify())
    obj = await world.until_failed("VerificationError")

    assert (
        "public keys secret error: secret 'apps/keys' not found"
        in (condition(obj, "SourceVerified")["message"])
    )
    assert http_server.requests == []


@pytest.mark.shows(
    "GitRepository/Stalled/InvalidVerificationMode",
    "GitRepository/SourceVerified/InvalidVerificationMode",
)
@pytest.mark.parametrize("ref", [{"branch": "main"}, {"name": "refs/heads/main"}, None])
async def test_a_tags_signature_needs_a_tag(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, ref: dict[str, str] | None
) -> None:
    await world.repository(url=f"{http_server.url}/app.git", ref=ref, verify=_verify("Tag"))
    obj = await world.until_failed("InvalidVerificationMode")

    assert condition(obj, "Stalled")["reason"] == "InvalidVerificationMode"
    assert condition(obj, "SourceVerified")["status"] == "False"


@pytest.mark.shows(
    "GitRepository/SourceVerified/InvalidGitObject",
    "GitRepository/SourceVerified/InvalidTagSignature",
)
async def test_tags_that_are_light_or_not_signed(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, author: Author
) -> None:
    author.signs(repo)
    repo.commit({"app.yaml": "good\n"})
    repo.tag("light")
    repo.tag("annotated", annotated=True)
    await world.secret("keys", {"author.sshpub": author.public})
    url = f"{http_server.url}/app.git"
    await world.repository(url=url, ref={"tag": "light"}, verify=_verify("TagAndHEAD"))
    light = await world.until_failed("InvalidGitObject")
    await world.repository(url=url, ref={"tag": "annotated"}, verify=_verify("TagAndHEAD"))
    unsigned = await world.until_failed("InvalidTagSignature")

    assert "lightweight tag" in condition(light, "SourceVerified")["message"]
    assert "failed: it is not signed" in condition(unsigned, "SourceVerified")["message"]
    assert "artifact" not in unsigned["status"]


async def test_an_old_signed_tag_is_no_newer_version(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, author: Author
) -> None:
    author.signs(repo)
    repo.commit({"app.yaml": "old\n"})
    git(repo.work, "tag", "--sign", "v1.0.0", "-m", "Release")
    repo.push()
    repo.set_ref("refs/tags/v9.0.0", git(repo.work, "rev-parse", "v1.0.0"))
    await world.secret("keys", {"author.sshpub": author.public})
    await world.repository(
        url=f"{http_server.url}/app.git", ref={"semver": "*"}, verify=_verify("Tag")
    )
    obj = await world.until_failed("InvalidTagSignature")

    assert "'v9.0.0' is of another tag" in condition(obj, "SourceVerified")["message"]


# --- what must pass -------------------------------------------------------------------------------


@pytest.mark.shows(
    "GitRepository/SourceVerified/Succeeded",
    "event:GitRepository/signature verified",
    "field:GitRepository/spec.verify.mode",
    "field:GitRepository/spec.verify.secretRef.name",
)
@pytest.mark.parametrize(
    ("mode", "ref", "signed"),
    [
        ("HEAD", {"branch": "main"}, ("commit",)),
        ("head", {"branch": "main"}, ("commit",)),
        ("Tag", {"tag": "v1.0.0"}, ("tag",)),
        ("TagAndHEAD", {"semver": "1.x"}, ("tag", "commit")),
        ("Tag", {"name": "refs/tags/v1.0.0"}, ("tag",)),
    ],
)
async def test_signatures_that_hold(
    world: SourceWorld,
    repo: Repo,
    http_server: GitHttpServer,
    author: Author,
    *,
    mode: str,
    ref: dict[str, str],
    signed: tuple[str, ...],
) -> None:
    author.signs(repo)
    head = repo.commit({"app.yaml": "good\n"})
    git(repo.work, "tag", "--sign", "v1.0.0", "-m", "Release")
    repo.push()
    await world.secret("keys", {"author.sshpub": author.public, "old.sshpub": "x"})
    await world.repository(url=f"{http_server.url}/app.git", ref=ref, verify=_verify(mode))
    obj = await world.until_ready()

    names = {"tag": "tag 'v1.0.0'", "commit": f"commit '{head}'"}
    verified = condition(obj, "SourceVerified")
    assert (verified["status"], verified["reason"]) == ("True", "Succeeded")
    assert [line.split(" with key")[0] for line in verified["message"].splitlines()[1:]] == [
        f"\t- {names[item]}" for item in signed
    ]
    expected = "HEAD" if mode == "head" else mode
    assert obj["status"]["sourceVerificationMode"] == expected
    event = await world.until_event("Succeeded")
    assert event["message"] == verified["message"]


async def test_a_verified_revision_is_not_fetched_again_and_is_unverified_on_demand(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, author: Author
) -> None:
    author.signs(repo)
    repo.commit({"app.yaml": "good\n"})
    url = f"{http_server.url}/app.git"
    await world.secret("keys", {"author.sshpub": author.public})
    await world.repository(url=url, verify=_verify())
    await world.until_ready()
    http_server.requests.clear()
    await world.run_now()

    assert [line.split("?")[0] for line in http_server.requests] == ["GET /app.git/info/refs"]

    await world.repository(url=url)
    obj = await world.until_ready()

    assert not condition(obj, "SourceVerified")
    assert "sourceVerificationMode" not in obj["status"]


@pytest.mark.shows("field:GitRepository/spec.proxySecretRef.name")
async def test_a_proxy_of_the_object_is_used(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, unused_tcp_port: int
) -> None:
    url = f"{http_server.url}/app.git"
    await world.secret("proxy", {"address": f"http://127.0.0.1:{unused_tcp_port}"})
    await world.repository(url=url, proxySecretRef={"name": "proxy"})
    away = await world.until_failed("GitOperationFailed")
    await world.secret("proxy", {"username": "me"})
    await world.request("again")
    empty = await world.until_failed("AuthenticationFailed")

    assert (
        f"cannot connect to 127.0.0.1:{unused_tcp_port}"
        in (condition(away, "FetchFailed")["message"])
    )
    assert "needs 'address'" in condition(empty, "FetchFailed")["message"]
    assert http_server.requests == []

"""The git job in real workers against real servers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluvial.log import get_logger
from fluvial.workers.pool import WorkerPool
from gitservers.http import GitHttpServer
from gitservers.repos import Repo, git
from gitservers.ssh import GitSshServer, make_key
from harness.git import Runner, branch
from harness.outbound import loopback_gateway
from source_controller.git.client import EmptyRepository, GitClient, GitError, git_pool
from source_controller.git.model import Auth, Checkout, Limits, Reference

Run = Callable[..., Any]


async def test_branch_over_http(run: Runner, repo: Repo, http_server: GitHttpServer) -> None:
    head = repo.commit({"app.yaml": "v2\n"}, message="Second change\n\nwith a body")
    result = await run(f"{http_server.url}/app.git", reference=branch())

    assert result == Checkout(f"main@sha1:{head}", head, "Second change")
    assert run.files == ["app.yaml", "deploy/run.sh"]
    assert (run.tree / "app.yaml").read_text() == "v2\n"
    assert sum(line.startswith("GET") for line in http_server.requests) == 1, "one listing"


async def test_only_the_last_commit_is_fetched(
    run: Runner, repo: Repo, http_server: GitHttpServer
) -> None:
    for number in range(5):
        repo.commit({"app.yaml": f"{number}\n"})
    await run(f"{http_server.url}/app.git", reference=branch())

    assert git(run.work / "repository-1", "rev-list", "--count", "refs/heads/main") == "1"


async def test_programs_links_and_bytes_come_as_they_are(
    run: Runner, repo: Repo, http_server: GitHttpServer
) -> None:
    (repo.work / "link").symlink_to("app.yaml")
    (repo.work / "deploy/run.sh").chmod(0o755)
    (repo.work / "crlf.txt").write_bytes(b"a\r\nb\n\xff")
    repo.commit({})
    repo.commit({".gitattributes": "*.yaml text eol=crlf ident filter=evil\n*.txt text=auto\n"})
    await run(f"{http_server.url}/app.git", reference=branch())

    assert (run.tree / "app.yaml").read_bytes() == b"v1\n"
    assert (run.tree / "crlf.txt").read_bytes() == b"a\r\nb\n\xff"
    assert (run.tree / "deploy/run.sh").stat().st_mode & 0o777 == 0o700
    assert (run.tree / "link").is_symlink()


async def test_unchanged_heads_fetch_nothing(
    run: Runner, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    repo.tag("v1.0.0", annotated=True)
    for reference in (
        branch(),
        Reference(tag="v1.0.0"),
        Reference(name="refs/tags/v1.0.0"),
        Reference(name="refs/heads/main"),
        Reference(semver="1.x"),
    ):
        first = await run(url, reference=reference)
        http_server.requests.clear()
        second = await run(url, reference=reference, known_revision=first.revision)

        assert second.unchanged
        assert second.revision == first.revision
        assert [line.split("?")[0] for line in http_server.requests] == ["GET /app.git/info/refs"]
        assert not run.tree.exists()


@pytest.mark.parametrize("annotated", [False, True], ids=["lightweight", "annotated"])
async def test_tags_are_peeled(
    run: Runner, repo: Repo, http_server: GitHttpServer, *, annotated: bool
) -> None:
    head = repo.commit({"app.yaml": "tagged\n"})
    repo.tag("rel/1", annotated=annotated)
    repo.commit({"app.yaml": "later\n"})
    url = f"{http_server.url}/app.git"

    assert (await run(url, reference=Reference(tag="rel/1"))).revision == f"rel/1@sha1:{head}"
    assert (run.tree / "app.yaml").read_text() == "tagged\n"
    name = Reference(name="refs/tags/rel/1^{}")
    assert (await run(url, reference=name)).revision == f"refs/tags/rel/1^{{}}@sha1:{head}"


async def test_pull_request_heads_by_name(
    run: Runner, repo: Repo, http_server: GitHttpServer
) -> None:
    repo.branch("feature")
    head = repo.commit({"app.yaml": "pr\n"})
    repo.set_ref("refs/pull/7/head", head)
    result = await run(f"{http_server.url}/app.git", reference=Reference(name="refs/pull/7/head"))

    assert result.revision == f"refs/pull/7/head@sha1:{head}"
    assert (run.tree / "app.yaml").read_text() == "pr\n"


async def test_semver_takes_the_highest_and_the_newest_of_equals(
    run: Runner, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    for tag in ("v1.2.0", "v1.10.0", "v2.0.0-rc.1", "v2.0", "nonsense"):
        repo.commit({"app.yaml": tag})
        repo.tag(tag)
    result = await run(url, reference=Reference(semver=">=1.0.0"))
    assert result.revision.startswith("v1.10.0@sha1:")
    head = ""
    for tag in ("1.11.0+z", "1.11.0+a"):
        head = repo.commit({"app.yaml": tag})
        repo.tag(tag, annotated=True)
    result = await run(url, reference=Reference(semver="1.x"))

    assert result.revision == f"1.11.0+a@sha1:{head}"
    with pytest.raises(GitError, match="no match found for semver: >9"):
        await run(url, reference=Reference(semver=">9"))


async def test_commits_are_found_in_the_history_of_branches(
    run: Runner, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    old = repo.commit({"app.yaml": "old\n"})
    head = repo.commit({"app.yaml": "new\n"})
    repo.branch("other")
    other = repo.commit({"app.yaml": "other\n"})

    for reference, revision in (
        (Reference(commit=old), f"sha1:{old}"),
        (Reference(commit=head), f"sha1:{head}"),
        (Reference(commit=old, branch="main"), f"main@sha1:{old}"),
        (Reference(commit=head, branch="main"), f"main@sha1:{head}"),
        (Reference(commit=other), f"sha1:{other}"),
    ):
        assert (await run(url, reference=reference)).revision == revision
    with pytest.raises(GitError, match="is not in the history of branch 'main'"):
        await run(url, reference=Reference(commit=other, branch="main"))
    with pytest.raises(GitError, match="not the full hash"):
        await run(url, reference=Reference(commit="abc"))


async def test_a_commit_that_only_a_foreign_ref_has_is_not_found(
    run: Runner, repo: Repo, http_server: GitHttpServer
) -> None:
    """Hosting services serve commits of forks by hash; no branch of ours leads to them."""
    repo.branch("fork")
    (repo.work / "app.yaml").write_text("evil\n")
    git(repo.work, "commit", "-qam", "evil", env=repo._dates())
    evil = git(repo.work, "rev-parse", "HEAD")
    git(repo.work, "push", "-q", "origin", f"{evil}:refs/pull/1/head")
    git(repo.work, "checkout", "-q", "main")
    with pytest.raises(GitError, match="is not in the history"):
        await run(f"{http_server.url}/app.git", reference=Reference(commit=evil))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (branch("nope"), "couldn't find remote ref 'refs/heads/nope'"),
        (Reference(), "couldn't find remote ref 'refs/heads/master'"),
        (Reference(tag="nope"), "couldn't find remote ref 'refs/tags/nope'"),
        (Reference(name="refs/pull/1/head"), "couldn't find remote ref 'refs/pull/1/head'"),
        (Reference(name="/refs/heads/main"), "invalid reference name"),
        (Reference(name="refs/heads/main/"), "invalid reference name"),
        (branch("main:refs/heads/x"), "invalid reference name"),
        (branch("*"), "invalid reference name"),
        (Reference(semver="latest"), "invalid version range"),
    ],
)
async def test_references_that_are_not_there(
    run: Runner, repo: Repo, http_server: GitHttpServer, reference: Reference, message: str
) -> None:
    with pytest.raises(GitError) as caught:
        await run(f"{http_server.url}/app.git", reference=reference)

    assert message in str(caught.value)


async def test_an_empty_repository(run: Runner, tmp_path: Path, http_server: GitHttpServer) -> None:
    Repo(tmp_path / "repos", "empty.git")
    with pytest.raises(EmptyRepository):
        await run(f"{http_server.url}/empty.git", reference=branch())


async def test_sparse_checkout(run: Runner, repo: Repo, http_server: GitHttpServer) -> None:
    repo.commit({"deploy2/x": "", "deploy/sub/y": "", "other/z": ""})
    url = f"{http_server.url}/app.git"
    await run(url, reference=branch(), sparse=("deploy", "other"))
    assert run.files == ["deploy/run.sh", "deploy/sub/y", "other/z"]
    with pytest.raises(GitError, match="'missing' does not exist"):
        await run(url, reference=branch(), sparse=("deploy", "missing"))


async def test_a_lost_worker_costs_one_retry_whatever_it_had_written(
    pool: WorkerPool, run: Runner, repo: Repo, http_server: GitHttpServer, tmp_path: Path
) -> None:
    http_server.hold.clear()
    left = tmp_path / "work-0"
    call = asyncio.create_task(run(f"{http_server.url}/app.git", reference=branch()))
    while not http_server.requests:  # the server has no event for it
        await asyncio.sleep(0.01)
    (left / "tree").mkdir()
    (left / "tree/half").write_text("half")
    os.kill(pool.pids[0], signal.SIGKILL)
    http_server.hold.set()

    assert (await call).revision.startswith("main@sha1:")
    assert run.files == ["app.yaml", "deploy/run.sh"]


# --- SSH ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "password"), [("ed25519", ""), ("ecdsa", ""), ("rsa", ""), ("ed25519", "s3cret")]
)
async def test_ssh_with_keys_from_memory(
    run: Runner, repo: Repo, ssh_server: GitSshServer, tmp_path: Path, *, kind: str, password: str
) -> None:
    private, public = make_key(tmp_path / "id", kind=kind, password=password)
    ssh_server.authorize(public)
    auth = Auth(identity=private, identity_password=password, known_hosts=ssh_server.known_hosts())
    url = f"ssh://127.0.0.1:{ssh_server.port}{repo.bare}"
    result = await run(url, user=ssh_server.user, reference=branch(), auth=auth)

    assert result.revision.startswith("main@sha1:")
    assert run.files == ["app.yaml", "deploy/run.sh"]
    assert git(run.work / "repository-1", "rev-list", "--count", "refs/heads/main") == "1"


async def test_ssh_believes_only_known_hosts(
    run: Runner, repo: Repo, ssh_server: GitSshServer, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path / "id")
    ssh_server.authorize(public)
    _, foreign = make_key(tmp_path / "foreign")
    port = ssh_server.port
    url = f"ssh://127.0.0.1:{port}{repo.bare}"

    async def attempt(known_hosts: str) -> Checkout:
        auth = Auth(identity=private, known_hosts=known_hosts)
        return await run(url, user=ssh_server.user, reference=branch(), auth=auth)

    for kind in ("ed25519", "ecdsa", "rsa"):
        assert (await attempt(ssh_server.known_hosts(kind))).commit
    good = ssh_server.known_hosts("ed25519").split(" ", 1)[1]
    for known_hosts, message in (
        ("", "host key unknown"),
        (f"otherhost {good}", "host key unknown"),
        (f"127.0.0.1 {good}", "host key unknown"),
        (f"[127.0.0.1]:{port} {' '.join(foreign.split()[:2])}\n", "host key mismatch"),
        (f"@revoked [127.0.0.1]:{port} {good}", "host key"),
        (f"@cert-authority * {good}", "host key unknown"),
    ):
        with pytest.raises(GitError, match=message) as caught:
            await attempt(known_hosts)
        assert "SHA256:" in str(caught.value)


async def test_ssh_key_that_the_server_does_not_know(
    run: Runner, repo: Repo, ssh_server: GitSshServer, tmp_path: Path
) -> None:
    private, _ = make_key(tmp_path / "id")
    auth = Auth(identity=private, known_hosts=ssh_server.known_hosts())
    url = f"ssh://127.0.0.1:{ssh_server.port}{repo.bare}"
    with pytest.raises(GitError, match=r"authentication required: .* refused"):
        await run(url, user=ssh_server.user, reference=branch(), auth=auth)


# --- submodules ---------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Repo:
    library = Repo(tmp_path / "repos", "lib.git")
    library.commit({"lib.yaml": "lib\n"})
    return library


async def test_submodules_are_written_recursively_with_the_same_credentials(
    run: Runner, repo: Repo, library: Repo, tmp_path: Path, http_server: GitHttpServer
) -> None:
    inner = Repo(tmp_path / "repos", "inner.git")
    inner.commit({"inner.yaml": "inner\n"})
    library.add_submodule(inner, "vendor/inner", f"{http_server.url}/inner.git")
    repo.add_submodule(library, "libs/lib", "../lib.git")
    library.commit({"lib.yaml": "later than the pinned commit\n"})
    http_server.basic = ("dev", "s3cret")
    auth = Auth(username="dev", password="s3cret")
    url = f"{http_server.url}/app.git"
    await run(url, reference=branch(), auth=auth, submodules=True)

    assert (run.tree / "libs/lib/lib.yaml").read_text() == "lib\n"
    assert (run.tree / "libs/lib/vendor/inner/inner.yaml").read_text() == "inner\n"
    await run(url, reference=branch(), auth=auth)
    assert not (run.tree / "libs/lib/lib.yaml").exists()


async def test_credentials_stay_with_their_host(
    run: Runner, repo: Repo, library: Repo, tmp_path: Path, http_server: GitHttpServer
) -> None:
    async with GitHttpServer(tmp_path / "repos") as other:
        repo.add_submodule(library, "lib", f"{other.url}/lib.git")
        await run(
            f"{http_server.url}/app.git",
            reference=branch(),
            auth=Auth(bearer="t0ken"),
            submodules=True,
        )

        assert set(other.authorizations) == {""}
        assert "Bearer t0ken" in http_server.authorizations


@pytest.mark.parametrize(
    "url", ["/etc", "file:///etc", "ext::sh -c id", "../../../..", "--upload-pack=x"]
)
async def test_hostile_submodule_urls_are_refused(
    run: Runner, repo: Repo, library: Repo, http_server: GitHttpServer, url: str
) -> None:
    repo.add_submodule(library, "lib", url)
    with pytest.raises(GitError, match=r"submodule URL .* is refused"):
        await run(f"{http_server.url}/app.git", reference=branch(), submodules=True)


async def test_a_submodule_that_contains_itself_ends(
    run: Runner, repo: Repo, http_server: GitHttpServer
) -> None:
    for _ in range(13):
        repo.add_submodule(repo, "again", "./")
        (repo.work / ".gitmodules").unlink()
    with pytest.raises(GitError, match="nested too deeply"):
        await run(f"{http_server.url}/app.git", reference=branch(), submodules=True)


# --- hostile content ------------------------------------------------------------------------------


def commit_tree(repo: Repo, entries: list[tuple[str, str, str]]) -> None:
    """Commit a tree that git's own commands refuse to make."""
    raw = b""
    for mode, name, target in entries:
        raw += f"{mode} {name}".encode() + b"\0" + bytes.fromhex(target)
    path = repo.work / "raw-tree"
    path.write_bytes(raw)
    tree = git(repo.bare, "hash-object", "-t", "tree", "--literally", "-w", str(path))
    commit = git(repo.bare, "commit-tree", "-m", "hostile", tree, env=repo._dates())
    repo.set_ref("refs/heads/main", commit)


@pytest.mark.parametrize(
    "name",
    [
        ".git",
        ".GIT",
        ".git ",
        ".git.",
        "..",
        ".",
        "a/b",
        "git~1",
        ".g\u200cit",
        ".git::$INDEX",
        "a\\b",
    ],
)
async def test_crafted_names_are_refused(
    run: Runner, repo: Repo, http_server: GitHttpServer, name: str
) -> None:
    blob = git(repo.bare, "rev-parse", "HEAD:app.yaml")
    commit_tree(repo, [("100644", name, blob)])
    with pytest.raises(GitError):
        await run(f"{http_server.url}/app.git", reference=branch())

    assert not run.tree.exists() or run.files == []


async def test_a_link_and_a_folder_of_one_name_do_not_write_through(
    run: Runner, repo: Repo, http_server: GitHttpServer, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (repo.work / "link-target").write_text(str(victim))
    link = git(repo.bare, "hash-object", "-w", str(repo.work / "link-target"))
    folder = git(repo.bare, "rev-parse", "HEAD:deploy")
    commit_tree(repo, [("120000", "x", link), ("40000", "x", folder)])
    with pytest.raises(GitError):
        await run(f"{http_server.url}/app.git", reference=branch())

    assert list(victim.iterdir()) == []


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_transfer_bytes=1000),
        Limits(max_file_bytes=1000),
        Limits(max_tree_bytes=1000),
        Limits(max_entries=2),
    ],
    ids=["transfer", "file", "tree", "entries"],
)
async def test_limits(run: Runner, repo: Repo, http_server: GitHttpServer, limits: Limits) -> None:
    incompressible = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200))
    repo.commit({"big": incompressible})
    with pytest.raises(GitError, match=r"larger than|too large|more than"):
        await run(f"{http_server.url}/app.git", reference=branch(), limits=limits)


@pytest.mark.slow
async def test_a_server_that_never_ends_its_answer_costs_a_process_and_no_more(
    tmp_path: Path,
) -> None:
    connections = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/x-git-upload-pack-advertisement\r\n\r\n"
        )
        writer.write(_chunk(b"001e# service=git-upload-pack\n0000"))
        with contextlib.suppress(ConnectionError):
            for number in itertools.count(0, 1000):
                lines = b"".join(_ref_line(number + offset) for offset in range(1000))
                writer.write(_chunk(lines))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    memory = 128 << 20
    async with (
        server,
        loopback_gateway() as gateway,
        git_pool(size=1, log=get_logger("test"), memory_bytes=memory) as pool,
    ):
        runner = Runner(GitClient(pool, gateway), tmp_path)
        with pytest.raises(GitError, match="memory limit"):
            await runner(f"http://127.0.0.1:{port}/x", reference=branch())

        assert pool.pids == ()
    assert connections == 2, "one retry"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _ref_line(number: int) -> bytes:
    line = b"%040x refs/heads/b%d" % (number + 1, number)
    if number == 0:
        line += b"\0side-band-64k shallow"
    return b"%04x%s\n" % (len(line) + 5, line)

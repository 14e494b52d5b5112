"""Where the controller's own client comes from."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluvial.kube.auth import CredentialsError, ExecAuth, ExecPlugin, TokenFileAuth
from fluvial.kube.config import (
    NoConfiguration,
    in_cluster_connection,
    kubeconfig_paths,
    load_client,
)
from fluvial.kube.connection import proxy_for
from fluvial.kube.kubeconfig import InvalidKubeConfig

from .certificates import make_certificates

CERTIFICATES = make_certificates()
POD = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


def write(path: Path, *, name: str = "it", cluster: Any = None, user: Any = None) -> Path:
    document = {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": cluster or {"server": "https://h:1"}}],
        "users": [{"name": name, "user": user or {}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


async def test_files_are_found_next_to_the_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes_asyncio.client", None)  # must not be imported
    (tmp_path / "ca.pem").write_bytes(CERTIFICATES.ca)
    (tmp_path / "client.pem").write_bytes(CERTIFICATES.certificate)
    (tmp_path / "key.pem").write_bytes(CERTIFICATES.key)
    (tmp_path / "token").write_text("first\n")
    path = write(
        tmp_path / "config",
        cluster={"server": "https://h:1/", "certificate-authority": "ca.pem"},
        user={"client-certificate": "client.pem", "client-key": "key.pem", "tokenFile": "token"},
    )

    client = await load_client(kubeconfig=path, user_agent="t", environ={})
    connection = client._transport._connection

    assert connection.server == "https://h:1"
    assert await connection.auth.header() == "Bearer first"
    assert connection.tls is not None
    assert len(connection.tls.get_ca_certs()) == 1


async def test_the_first_of_several_files_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "a", cluster={"server": "https://first"})
    second = write(tmp_path / "b", cluster={"server": "https://second"})
    third = write(tmp_path / "c", name="other", cluster={"server": "https://third"})
    paths = kubeconfig_paths(f"{tmp_path}/missing:{first}:{second}:{third}")

    client = await load_client(kubeconfig=paths, user_agent="t", environ={})
    other = await load_client(kubeconfig=paths, user_agent="t", environ={}, context="other")

    assert client._transport._connection.server == "https://first"
    assert other._transport._connection.server == "https://third"


async def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoConfiguration, match="no kubeconfig at"):
        await load_client(kubeconfig=tmp_path / "none", user_agent="t", environ={})
    with pytest.raises(NoConfiguration, match="--kubeconfig"):
        await load_client(kubeconfig=None, user_agent="t", environ={})
    path = write(tmp_path / "config", user={"client-certificate": "x", "client-key": "x"})
    with pytest.raises(InvalidKubeConfig, match="contexts has no 'other'"):
        await load_client(kubeconfig=path, user_agent="t", environ={}, context="other")
    with pytest.raises(NoConfiguration, match="cannot read"):
        await load_client(kubeconfig=path, user_agent="t", environ={})


@pytest.mark.slow
async def test_an_auth_provider_is_left_to_kubernetes_asyncio(tmp_path: Path) -> None:
    config = {"access-token": "from-provider", "expiry": "2126-01-01T00:00:00Z"}
    user = {"auth-provider": {"name": "gcp", "config": config}}
    path = write(tmp_path / "config", user=user)

    client = await load_client(kubeconfig=path, user_agent="t", environ={})

    assert await client._transport._connection.auth.header() == "Bearer from-provider"


async def test_impersonation_of_an_own_kubeconfig_is_not_silently_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "config", user={"as": "somebody"})

    with pytest.raises(NoConfiguration, match="'as'"):
        await load_client(kubeconfig=path, user_agent="t", environ={})


async def test_a_pod_uses_its_service_account_and_reads_the_token_again(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(CERTIFICATES.ca)
    (tmp_path / "token").write_text("one")
    clock = Hands()
    connection = in_cluster_connection(POD, clock=clock, folder=tmp_path)

    assert connection.server == "https://[fd00::1]:443"
    assert await connection.auth.header() == "Bearer one"
    (tmp_path / "token").write_text("two")
    assert await connection.auth.header() == "Bearer one"
    clock.at += 61
    assert await connection.auth.header() == "Bearer two"
    (tmp_path / "token").write_text("three")
    assert await connection.auth.refresh()
    assert not await connection.auth.refresh()
    (tmp_path / "token").unlink()
    clock.at += 61
    assert await connection.auth.header() == "Bearer three"


async def test_a_token_that_never_was_is_an_error(tmp_path: Path) -> None:
    auth = TokenFileAuth(tmp_path / "none", clock=Hands())

    with pytest.raises(CredentialsError, match="cannot read the token file"):
        await auth.header()


def plugin(*args: str) -> ExecPlugin:
    return ExecPlugin(sys.executable, ("-c", *args), (("EXTRA", "7"),), "v1")


async def run_plugin(code: str, clock: Hands | None = None) -> tuple[ExecAuth, list[bytes]]:
    seen: list[bytes] = []
    auth = ExecAuth(
        plugin(code), clock=clock or Hands(), use_certificate=lambda c, k: seen.extend((c, k))
    )
    return auth, seen


def _content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


PRINT = (
    "import os,json,sys;sys.stderr.write('x'*200000);i=json.loads(os.environ['KUBERNETES_EXEC_INFO']);"
    "print(json.dumps({'apiVersion':i['apiVersion'],'kind':'ExecCredential','status':"
)


@pytest.mark.slow
async def test_a_plugin_gives_tokens_until_they_expire() -> None:
    clock = Hands()
    status = (
        "{'token': os.environ['EXTRA'] + str(os.getpid()),"
        "'expirationTimestamp': '1970-01-01T01:00:00Z'}}))"
    )
    auth, _ = await run_plugin(PRINT + status, clock)

    first = await auth.header()
    again = await auth.header()
    clock.at = 3590.0
    renewed = await auth.header()

    assert first.startswith("Bearer 7")
    assert first == again != renewed


@pytest.mark.slow
async def test_a_plugin_may_give_a_certificate() -> None:
    auth, seen = await run_plugin(PRINT + "{'clientCertificateData':'C','clientKeyData':'K'}}))")

    assert await auth.header() == ""
    assert seen == [b"C", b"K"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys;print('hunter2',file=sys.stderr);sys.exit(3)", "exit code 3"),
        ("print('hunter2')", "did not print JSON"),
        ("print('{}')", "ExecCredential"),
    ],
)
async def test_a_plugin_that_fails_tells_no_secret(code: str, says: str) -> None:
    auth, _ = await run_plugin(code)

    with pytest.raises(CredentialsError, match=says) as caught:
        await auth.header()

    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
async def test_a_plugin_that_hangs_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("fluvial.kube.auth._EXEC_SECONDS", 0.5)
    mark = tmp_path / "pid"
    auth, _ = await run_plugin(
        f"import os,time;open({str(mark)!r},'w').write(str(os.getpid()));time.sleep(60)"
    )

    with pytest.raises(CredentialsError, match="took more than"):
        await auth.header()

    assert not os.path.exists(f"/proc/{_content(mark) or 'none'}")  # noqa: PTH110 - a test


@pytest.mark.parametrize(
    ("no_proxy", "proxied"),
    [
        ("", True),
        ("*", False),
        ("h.example.test", False),
        ("example.test", False),
        (".example.test", False),
        ("*.example.test", False),
        ("h.example.test:6443", False),
        ("h.example.test:443", True),
        ("ample.test", True),
        ("other.test, 10.0.0.0/8", True),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(*, no_proxy: str, proxied: bool) -> None:
    environ = {"HTTPS_PROXY": "proxy.test:3128", "NO_PROXY": no_proxy}

    found = proxy_for("https://h.example.test:6443", environ)

    assert found == ("http://proxy.test:3128" if proxied else "")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "10.1.2.3"])
def test_loopback_and_excluded_networks_are_reached_directly(host: str) -> None:
    environ = {"https_proxy": "http://proxy.test", "no_proxy": "10.0.0.0/8"}

    assert proxy_for(f"https://{host}:6443", environ) == ""

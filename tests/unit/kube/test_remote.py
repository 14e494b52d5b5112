"""A tenant's kubeconfig cannot read the controller's files, run programs or turn TLS off."""

from __future__ import annotations

import base64
import builtins
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluvial.kube.connection import Connection
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.remote import KubeConfigRefused, client_from_kubeconfig

from .certificates import make_certificates

CERTIFICATES = make_certificates()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def kubeconfig(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **top: Any
) -> bytes:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [
            {
                "name": "k",
                "cluster": {
                    "server": "https://example.test:6443/prefix/",
                    "certificate-authority-data": b64(CERTIFICATES.ca),
                    **(cluster or {}),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": "sesame"} if user is None else user}],
        **top,
    }
    return yaml.safe_dump(document).encode()


async def load(data: bytes, **options: Any) -> HttpKubeClient:
    options = {"allow_exec": False, "allow_insecure_tls": False, "user_agent": "t", **options}
    return await client_from_kubeconfig(data, **options)


def connection_of(client: HttpKubeClient) -> Connection:
    return client._transport._connection


@pytest.mark.parametrize(
    ("cluster", "user", "says"),
    [
        ({"certificate-authority-data": "", "certificate-authority": "/etc/passwd"}, None, "certificate-authority names a file"),
        ({}, {"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}, "tokenFile names a file"),
        ({}, {"client-certificate": "/c.pem"}, "client-certificate names a file"),
        ({}, {"client-key": "/k.pem"}, "client-key names a file"),
        ({}, {"exec": {"command": "/bin/sh", "apiVersion": "v1"}}, "--insecure-kubeconfig-exec"),
        ({}, {"token": "x", "exec": {"command": "/bin/sh", "apiVersion": "v1"}}, "exec plugins are not allowed"),
        ({}, {"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/sh"}}}, "auth-provider is not supported"),
        ({"insecure-skip-tls-verify": True}, None, "--insecure-kubeconfig-tls"),
        ({"server": "http://example.test"}, None, "must use https"),
        ({"server": "HTTP://example.test"}, None, "must use https"),
        ({"server": "file:///etc/passwd"}, None, "http.s. URL"),
        ({"server": "https://user:pw@example.test"}, None, "scheme, host, port and path only"),
        ({"server": "https://example.test/a/../b"}, None, "must not contain"),
        ({"server": ""}, None, "no server"),
        ({"server": 7}, None, "server must be text"),
        ({"certificate-authority-data": "%%%"}, None, "not base64"),
        ({"certificate-authority-data": b64(b"nonsense")}, None, "not PEM"),
        ({"proxy-url": "socks5://x"}, None, "proxy-url"),
        ({}, {"client-certificate-data": b64(CERTIFICATES.certificate)}, "given together"),
        (
            {},
            {"client-certificate-data": b64(CERTIFICATES.certificate), "client-key-data": b64(CERTIFICATES.other_key)},
            "do not match",
        ),
        (
            {},
            {"client-certificate-data": b64(CERTIFICATES.certificate), "client-key-data": b64(CERTIFICATES.locked_key)},
            "encrypted",
        ),
        ({}, {"token": "a\r\nX: y"}, "token"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_what_is_not_allowed_is_refused(
    cluster: dict[str, Any], user: dict[str, Any] | None, says: str
) -> None:
    with pytest.raises(KubeConfigRefused, match=says) as caught:
        await load(kubeconfig(cluster, user))

    assert "sesame" not in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"- a",
        b"a: [",
        b"\xff\xfe\x00",
        b"[" * 5000,
        b"current-context: x",
        b"current-context: [1]",
        b"current-context: c\ncontexts: {}",
        b"current-context: c\ncontexts: [1]",
        b"x" * (1024 * 1024 + 1),
        b"!!python/object/apply:os.system ['true']",
    ],
    ids=range(11),
)
async def test_what_is_no_kubeconfig_is_refused(data: bytes) -> None:
    with pytest.raises(KubeConfigRefused, match="kubeconfig"):
        await load(data)


async def test_no_file_that_it_names_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def watching(real: Callable[..., Any]) -> Callable[..., Any]:
        def open_it(file: Any, *args: Any, **kwargs: Any) -> Any:
            opened.append(str(file))
            return real(file, *args, **kwargs)

        return open_it

    data = kubeconfig(
        {"certificate-authority": "/forbidden/ca"},
        {
            "token": "t",
            "tokenFile": "/forbidden/token",
            "client-certificate": "/forbidden/cert",
            "client-key": "/forbidden/key",
            "client-certificate-data": b64(CERTIFICATES.certificate),
            "client-key-data": b64(CERTIFICATES.key),
        },
    )
    monkeypatch.setattr(builtins, "open", watching(builtins.open))
    monkeypatch.setattr(os, "open", watching(os.open))
    client = await load(data)

    assert opened
    assert not [name for name in opened if "forbidden" in name]
    assert await connection_of(client).auth.header() == "Bearer t"


async def test_data_is_taken_over_and_impersonation_is_dropped() -> None:
    client = await load(
        kubeconfig(
            {"tls-server-name": "kubernetes", "proxy-url": "http://proxy.test:3128"},
            {"username": "u", "password": "p", "as": "root", "as-groups": ["system:masters"]},
        )
    )

    connection = connection_of(client)
    assert connection.server == "https://example.test:6443/prefix"
    assert connection.server_name == "kubernetes"
    assert connection.proxy == "http://proxy.test:3128"
    assert await connection.auth.header() == "Basic dTpw"
    assert connection.tls is not None
    assert len(connection.tls.get_ca_certs()) == 1
    assert client._identity == ()


async def test_flags_allow_what_they_name() -> None:
    script = (
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        '"status":{"token":"from-plugin"}}'
    )
    plugin = {
        "command": "/bin/echo",
        "args": [script],
        "apiVersion": "client.authentication.k8s.io/v1",
    }
    client = await load(
        kubeconfig({"insecure-skip-tls-verify": True}, {"exec": plugin}),
        allow_exec=True,
        allow_insecure_tls=True,
    )

    connection = connection_of(client)
    assert connection.tls is not None
    assert not connection.tls.check_hostname
    assert await connection.auth.header() == "Bearer from-plugin"


async def test_private_keys_do_not_stay_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    user = {
        "client-certificate-data": b64(CERTIFICATES.certificate),
        "client-key-data": b64(CERTIFICATES.key),
    }
    await load(kubeconfig({}, user))

    assert os.listdir(tmp_path) == []  # noqa: PTH208 - the event loop has nothing else to do

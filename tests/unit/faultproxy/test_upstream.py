"""What the proxy refuses to stand in front of."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from devcluster import certs
from faultproxy.upstream import BadUpstream, Upstream


def kubeconfig(server: str = "https://127.0.0.1:1", **user: str) -> dict[str, Any]:
    ca = base64.b64encode(certs.make_authority().pem).decode()
    return {
        "clusters": [
            {"name": "c", "cluster": {"server": server, "certificate-authority-data": ca}}
        ],
        "users": [{"name": "u", "user": user or {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "x",
    }


@pytest.mark.parametrize(
    "server", ["https://192.0.2.1:6443", "https://example.com", "http://127.0.0.1:1"]
)
def test_only_loopback_by_tls(server: str) -> None:
    with pytest.raises(BadUpstream, match="not https on a loopback address"):
        Upstream(kubeconfig(server))


@pytest.mark.parametrize(
    "user",
    [
        {"username": "u", "password": "hunter2"},
        {"token": "hunter2", "client-certificate-data": "aHVudGVyMg=="},
        {"client-certificate-data": "aHVudGVyMg=="},
        {"token": "hunter2", "as": "system:admin"},
    ],
    ids="+".join,
)
def test_other_ways_to_authenticate_are_refused_without_a_secret(user: dict[str, str]) -> None:
    with pytest.raises(BadUpstream, match="token or by a client certificate") as caught:
        Upstream(kubeconfig(**user))

    assert "hunter2" not in str(caught.value)


def test_unverified_servers_are_refused() -> None:
    config = kubeconfig()
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True

    with pytest.raises(BadUpstream, match="skips the check"):
        Upstream(config)


def test_a_token_is_passed_through_with_its_context() -> None:
    shown = Upstream(kubeconfig(token="mine")).kubeconfig("https://127.0.0.1:2", "Y2E=")

    assert shown["users"][0]["user"] == {"token": "mine"}
    assert shown["contexts"][0]["context"]["namespace"] == "n"
    assert shown["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:2"

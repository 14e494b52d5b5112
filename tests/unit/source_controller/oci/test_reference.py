"""Names of repositories, tags and digests."""

from __future__ import annotations

import pytest

from source_controller.oci.errors import InvalidReference
from source_controller.oci.reference import Repository, check_tag, parse_digest

HEX = "a" * 64


@pytest.mark.parametrize(
    ("url", "registry", "name"),
    [
        (
            "oci://ghcr.io/stefanprodan/manifests/podinfo",
            "ghcr.io",
            "stefanprodan/manifests/podinfo",
        ),
        ("oci://localhost:5000/app", "localhost:5000", "app"),
        ("oci://localhost/app", "localhost", "app"),
        ("oci://registry.flux:443/a/b", "registry.flux:443", "a/b"),
        ("oci://[fd00::1]:5000/app", "[fd00::1]:5000", "app"),
        ("oci://docker.io/app", "index.docker.io", "library/app"),
        ("oci://org/app", "index.docker.io", "org/app"),
        ("oci://app", "index.docker.io", "library/app"),
        ("oci://10.0.0.1/a__b/c-d.e", "10.0.0.1", "a__b/c-d.e"),
    ],
)
def test_urls(url: str, registry: str, name: str) -> None:
    repository = Repository.parse_url(url)

    assert (repository.registry, repository.name) == (registry, name)


@pytest.mark.parametrize(
    "url",
    [
        "https://ghcr.io/a/b",
        "oci://",
        "oci://ghcr.io",
        "oci://ghcr.io/",
        "oci://ghcr.io//a",
        "oci://ghcr.io/a/",
        "oci://ghcr.io/a/b:v1",
        f"oci://ghcr.io/a/b@sha256:{HEX}",
        "oci://user:pass@ghcr.io/a/b",
        "oci://app:v1",
        "oci://ghcr.io/A/b",
        "oci://ghcr.io/a/../../v1/b",
        "oci://ghcr.io/a/..",
        "oci://ghcr.io/a%2fb",
        "oci://ghcr.io/a b",
        "oci://ghcr.io/a?b=c",
        "oci://ghcr.io/a#b",
        "oci://gh cr.io/a",
        "oci://ghcr.io:0/a",
        "oci://ghcr.io:99999/a",
        "oci://ghcr.io:x/a",
        "oci://ghcr.io\\x/a",
        "oci://-ghcr.io/a",
        "oci://[::1/a",
        "oci://ghcr.io/" + "a" * 256,
        "oci://ghcr.io/a\n",
    ],
)
def test_refuses_what_is_no_repository(url: str) -> None:
    with pytest.raises(InvalidReference):
        Repository.parse_url(url)


def test_credentials_in_a_url_are_not_repeated() -> None:
    with pytest.raises(InvalidReference) as caught:
        Repository.parse_url("oci://user:topsecret@ghcr.io/a/b")

    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize("tag", ["latest", "v1.2.3", "_", "a" * 128, "1.0.0_build"])
def test_tags(tag: str) -> None:
    assert check_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", ".x", "-x", "a/b", "a b", "a" * 129, "a:b", "a?b", "é"])
def test_refuses_what_is_no_tag(tag: str) -> None:
    with pytest.raises(InvalidReference):
        check_tag(tag)


@pytest.mark.parametrize(
    "text", ["", "sha256", f"sha256:{'a' * 63}", f"md5:{'a' * 32}", f"sha256:{'A' * 64}", "x:../y"]
)
def test_refuses_what_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_digest(text)


@pytest.mark.parametrize(
    ("registry", "local"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("[::1]:5000", True),
        ("10.1.2.3:5000", True),
        ("172.16.0.1", True),
        ("172.32.0.1", False),
        ("192.168.1.1", True),
        ("registry.default.svc.cluster.local:5000", True),
        ("ghcr.io", False),
        ("8.8.8.8", False),
        ("local.example", False),
    ],
)
def test_plain_http_is_tried_on_local_networks_only(registry: str, *, local: bool) -> None:
    assert Repository(registry, "app").is_local is local

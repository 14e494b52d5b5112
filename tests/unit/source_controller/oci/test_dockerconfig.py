"""Pull secrets: what is in them, and which registry gets what."""

from __future__ import annotations

import base64

import orjson
import pytest

from source_controller.oci.access import Access
from source_controller.oci.dockerconfig import ANONYMOUS, Credentials, Keyring, parse_pull_secret
from source_controller.oci.errors import InvalidCredentials
from source_controller.oci.reference import Repository

JSON_TYPE = "kubernetes.io/dockerconfigjson"


def keyring(**auths: object) -> Keyring:
    return parse_pull_secret(JSON_TYPE, {".dockerconfigjson": orjson.dumps({"auths": auths})})


def user(name: str) -> dict[str, str]:
    return {"username": name, "password": "p"}


def found(ring: Keyring, repository: str) -> str:
    return ring.find(Repository.parse(repository)).username


@pytest.mark.parametrize(
    ("key", "repository"),
    [
        ("ghcr.io", "ghcr.io/a/b"),
        ("GHCR.io", "ghcr.io/a/b"),
        ("https://ghcr.io", "ghcr.io/a/b"),
        ("https://ghcr.io/v1/", "ghcr.io/a/b"),
        ("ghcr.io/v2/", "ghcr.io/a/b"),
        ("ghcr.io/a", "ghcr.io/a/b"),
        ("ghcr.io/a/b", "ghcr.io/a/b"),
        ("localhost:5000", "localhost:5000/a"),
        ("*.example.com", "reg.example.com/a"),
        ("https://index.docker.io/v1/", "docker.io/a/b"),
        ("docker.io", "a/b"),
        ("registry-1.docker.io", "a"),
        ("index.docker.io/library", "a"),
    ],
)
def test_an_entry_fits(key: str, repository: str) -> None:
    assert found(keyring(**{key: user("u")}), repository) == "u"


@pytest.mark.parametrize(
    ("key", "repository"),
    [
        ("ghcr.io", "evil-ghcr.io/a"),
        ("ghcr.io", "ghcr.io.evil.example/a"),
        ("ghcr.io", "ghcr.io:8443/a"),
        ("ghcr.io:8443", "ghcr.io/a"),
        ("ghcr.io/org", "ghcr.io/organisation/b"),
        ("ghcr.io/org/b", "ghcr.io/org/a"),
        ("*.example.com", "example.com/a"),
        ("*.example.com", "a.b.example.com/a"),
        ("*", "ghcr.io/a"),
        ("docker.io", "ghcr.io/a"),
        ("example.com", "docker.io/a"),
    ],
)
def test_an_entry_goes_to_no_other_registry(key: str, repository: str) -> None:
    assert keyring(**{key: user("u")}).find(Repository.parse(repository)) == ANONYMOUS


def test_the_most_special_entry_wins() -> None:
    ring = keyring(
        **{"*.io": user("glob"), "ghcr.io": user("host"), "ghcr.io/a": user("org")},
        **{"ghcr.io/a/b": user("repo")},
    )

    assert [found(ring, f"ghcr.io/{name}") for name in ("x", "a/x", "a/b", "a/b/c")] == [
        "host",
        "org",
        "repo",
        "repo",
    ]
    assert found(ring, "quay.io/x") == "glob"


def test_the_first_secret_wins_a_tie() -> None:
    ring = keyring(**{"ghcr.io": user("first")}) + keyring(**{"https://ghcr.io": user("second")})

    assert found(ring, "ghcr.io/a") == "first"


def test_forms_of_credentials() -> None:
    packed = base64.b64encode(b"u:p:with:colons\0\0").decode()
    ring = keyring(
        **{
            "a.io": {"auth": packed, "username": "ignored"},
            "b.io": {"auth": packed.rstrip("="), "email": "x"},
            "c.io": {"identitytoken": "t", "username": "<token>"},
            "d.io": {"registrytoken": "r"},
            "e.io": {},
        }
    )

    def get(host: str) -> Credentials:
        return ring.find(Repository(host, "x"))

    assert get("a.io") == get("b.io") == Credentials("u", "p:with:colons")
    assert get("c.io") == Credentials("<token>", identity_token="t")
    assert get("d.io") == Credentials(registry_token="r")
    assert not get("e.io")


def test_the_old_form_and_other_secrets() -> None:
    raw = orjson.dumps({"ghcr.io": user("u")})

    old = parse_pull_secret("kubernetes.io/dockercfg", {".dockercfg": raw})
    assert found(old, "ghcr.io/a") == "u"
    assert len(parse_pull_secret("Opaque", {".dockerconfigjson": raw})) == 0
    assert len(parse_pull_secret(JSON_TYPE, {})) == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"no json",
        b"[]",
        b'{"auths": []}',
        b'{"auths": {"": {}}}',
        b'{"auths": {"ghcr.io": "topsecret"}}',
        b'{"auths": {"ghcr.io": {"auth": "topsecret!"}}}',
        b'{"auths": {"ghcr.io": {"auth": "dG9wc2VjcmV0"}}}',
        b'{"auths": {"https://u:topsecret@ghcr.io": {}}}',
        b'{"auths": {"ghcr.io:port": {}}}',
        b'{"auths": {"ghcr.io": {"username": "u", "password": "topsecret\\n"}}}',
    ],
)
def test_refuses_a_malformed_secret_without_quoting_it(raw: bytes) -> None:
    with pytest.raises(InvalidCredentials) as caught:
        parse_pull_secret(JSON_TYPE, {".dockerconfigjson": raw})

    assert "topsecret" not in str(caught.value)


def test_nothing_shows_secrets() -> None:
    access = Access(Credentials("u", "topsecret", "topsecret", "topsecret"), ca="C", key="K")

    assert "topsecret" not in repr(access)
    assert "'K'" not in repr(access)


def test_every_input_of_trust_changes_the_fingerprint() -> None:
    from fluvial.net.proxy import ProxyServer

    proxy = ProxyServer("http", "p", 1)
    variants = [
        Access(),
        Access(Credentials("u")),
        Access(Credentials("", "u")),
        Access(Credentials(identity_token="u")),
        Access(Credentials(registry_token="u")),
        Access(ca="u"),
        Access(certificate="u"),
        Access(key="u"),
        Access(insecure=True),
        Access(identity="u"),
        Access(proxy=proxy),
        Access(proxy=ProxyServer("https", "p", 1)),
        Access(proxy=ProxyServer("http", "q", 1)),
        Access(proxy=ProxyServer("http", "p", 2)),
        Access(proxy=ProxyServer("http", "p", 1, "u")),
        Access(proxy=ProxyServer("http", "p", 1, "", "u")),
    ]

    assert len({access.fingerprint() for access in variants}) == len(variants)
    assert Access(ca="u").fingerprint() == Access(ca="u").fingerprint()

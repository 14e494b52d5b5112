"""Whose artifact an address means."""

from __future__ import annotations

import pytest

from fluvial.artifact.addresses import is_of_another_namespace, is_own_address
from fluvial.objects import ObjectKey


@pytest.mark.parametrize(
    "url",
    [
        "http://source-controller.flux-system.svc/gitrepository/victim/app/x.tar.gz",
        "http://10.0.0.1:9090/gitrepository/victim/app/x.tar.gz",
        "http://s/files/ocirepository/victim/app/x.tar.gz",
        "http://s/bucket/vi%63tim/app/x.tar.gz",
        "http://s/helmchart%2Fvictim/app/x.tar.gz",
        "http://s/gitrepository/own/../victim/app/x.tar.gz",
        "http://s//externalartifact//victim/app/x.tar.gz",
        "http://s/gitrepository/victim/app/x.tar.gz?own=/gitrepository/own/app/x",
        "http://[",
    ],
)
def test_stored_artifacts_of_other_namespaces(url: str) -> None:
    assert is_of_another_namespace(url, "own")


@pytest.mark.parametrize(
    "url",
    [
        "http://s/gitrepository/own/app/x.tar.gz",
        "http://s/gitrepository/victim/../own/app/x.tar.gz",
        "https://artifacts.example/shelf/victim/app/x.tar.gz",
        "https://artifacts.example/x.tar.gz",
    ],
)
def test_what_anybody_may_serve(url: str) -> None:
    assert not is_of_another_namespace(url, "own")


def test_own_addresses() -> None:
    key = ObjectKey("own", "app")
    assert is_own_address("http://s/gitrepository/own/app/x.tar.gz", "GitRepository", key)
    assert not is_own_address("http://s/gitrepository/victim/app/x.tar.gz", "GitRepository", key)
    assert not is_own_address("http://s/gitrepository/own/ap%70/x.tar.gz", "GitRepository", key)

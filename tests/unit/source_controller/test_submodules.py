"""Addresses in .gitmodules."""

from __future__ import annotations

import pytest

from fluvial.workers.errors import WorkerError
from source_controller.git.model import Auth
from source_controller.git.submodules import auth_for, parse_modules, resolve_url

PARENT = "https://git.example/org/app.git"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://other.example/x.git", ("https://other.example/x.git", "")),
        ("https://user:secret@other.example/x.git", ("https://other.example/x.git", "user")),
        ("ssh://git@other.example:2222/x.git", ("ssh://other.example:2222/x.git", "git")),
        ("git@github.example:org/x.git", ("ssh://github.example/org/x.git", "git")),
        ("../lib.git", ("https://git.example/org/lib.git", "")),
        ("../../team/lib.git", ("https://git.example/team/lib.git", "")),
        ("./lib.git", ("https://git.example/org/app.git/lib.git", "")),
    ],
)
def test_addresses_that_are_followed(url: str, expected: tuple[str, str]) -> None:
    assert resolve_url(url, parent=PARENT) == expected


@pytest.mark.parametrize(
    "url",
    [
        "/srv/git/x.git",
        "file:///etc/passwd",
        "git://git.example/x",
        "ext::sh -c id",
        "ext::ssh://x",
        "fd::0",
        "C:\\x",
        "-oProxyCommand=id",
        "-x:y",
        "host:-oProxyCommand=id",
        "../../../../..",
        "https:///x",
        "https://x:port/y",
        "https://x/y?z=1",
        "lib.git",
        "",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(WorkerError) as caught:
        resolve_url(url, parent=PARENT)
    assert caught.value.code == "UnsafeSubmodule"


def test_credentials_go_to_the_same_scheme_host_and_port_only() -> None:
    auth = Auth(username="u", password="p", bearer="b", ca="C", identity="I", known_hosts="K")
    assert auth_for("https://GIT.example:443/other.git", parent=PARENT, auth=auth) is auth
    for url in (
        "http://git.example/x",
        "https://git.example:8443/x",
        "https://git.example.evil/x",
        "ssh://git.example/x",
    ):
        assert auth_for(url, parent=PARENT, auth=auth) == Auth(ca="C", known_hosts="K")


def test_the_repr_of_credentials_shows_nothing() -> None:
    assert "hunter2" not in repr(Auth(password="hunter2"))


def test_gitmodules_is_read_without_includes() -> None:
    text = b"""
# a comment
[include]
\tpath = /etc/passwd
[submodule "one"]
\tpath = libs/one
\turl = "https://x/one.git" ; trailing
\tbranch = main
[submodule "no url"]
\tpath = libs/two
[submodule "sp\\"ace"]
  path=libs/three/
  url=../three.git # why
[core]
\turl = ignored
"""
    modules = parse_modules(text)

    assert {path: m.url for path, m in modules.items()} == {
        "libs/one": "https://x/one.git",
        "libs/three": "../three.git",
    }

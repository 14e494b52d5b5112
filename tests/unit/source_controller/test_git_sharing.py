"""What a Git process that was taken over can leave for the controller to archive."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from fluvial.clock import RealClock
from fluvial.net.proxy import ProxyServer
from source_controller.git.client import GitClient
from source_controller.git.model import Auth, Checkout, CheckoutRequest
from source_controller.gitrepository.sharing import Checkouts, Wish


class TakenOver:
    """Leaves a link to a folder of the controller in the place of the tree, or of the work."""

    def __init__(self, secrets: Path, *, above: bool) -> None:
        self.secrets = secrets
        self.above = above

    async def checkout(self, request: CheckoutRequest, **more: object) -> Checkout:
        del more
        work = Path(request.work)
        if self.above:
            work.rmdir()
            work.symlink_to(self.secrets.parent)
        else:
            (work / "tree").symlink_to(self.secrets)
        return Checkout("main@sha1:x", "x")


@pytest.mark.parametrize("above", [False, True], ids=["tree", "work"])
async def test_no_folder_of_ours_is_archived(tmp_path: Path, *, above: bool) -> None:
    secrets = tmp_path / "secrets" / "tree"
    secrets.mkdir(parents=True)
    (secrets / "token").write_text("topsecret")
    work = tmp_path / "ns" / "run"
    work.mkdir(parents=True)
    checkouts = Checkouts(
        tmp_path,
        cast("GitClient", TakenOver(secrets, above=above)),
        clock=RealClock(),
        max_bytes=0,
        algorithm="sha256",
    )
    wish = Wish(CheckoutRequest(url="x", work=str(work), timeout=1), "ns")

    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        await checkouts.shared(wish, max_age=0)
    assert not list(tmp_path.glob(".checkouts/*"))


def test_every_input_of_trust_makes_another_wish() -> None:
    request = CheckoutRequest(url="x", work="/a", timeout=1)
    same = CheckoutRequest(url="x", work="/b", timeout=1, gateway="http://b")
    others = [
        Wish(request, "other"),
        Wish(request, "ns", ignore="x"),
        Wish(request, "ns", ProxyServer("http", "proxy", 1)),
        Wish(request, "ns", ProxyServer("http", "proxy", 1, "user", "a")),
        Wish(request, "ns", ProxyServer("http", "proxy", 1, "user", "b")),
        *(
            Wish(CheckoutRequest(url="x", work="/a", timeout=1, auth=auth), "ns")
            for auth in (
                Auth(username="x"),
                Auth(password="x"),
                Auth(bearer="x"),
                Auth(ca="x"),
                Auth(certificate="x"),
                Auth(certificate_key="x"),
                Auth(identity="x"),
                Auth(identity_password="x"),
                Auth(known_hosts="x"),
            )
        ),
        Wish(CheckoutRequest(url="y", work="/a", timeout=1), "ns"),
        Wish(CheckoutRequest(url="x", work="/a", timeout=1, known_revision="x"), "ns"),
    ]
    keys = [Wish(request, "ns").key(), *(wish.key() for wish in others)]

    assert Wish(same, "ns").key() == keys[0]
    assert len(set(keys)) == len(keys)

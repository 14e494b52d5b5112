"""Which host is shown which credentials; PEM texts of Secrets."""

from __future__ import annotations

import zlib

import pytest
import yarl

from fluvial.net.tls import InvalidTls, Tls, tls_context, tls_from_secret
from gitservers.certs import TestCA
from source_controller.web.access import Access, shown
from source_controller.web.gunzip import Gunzip

HOME = yarl.URL("https://charts.example/team/")
TLS = Tls(ca="ca", certificate="cert", key="key")
MINE = Access(HOME, "me", "secret", TLS)
STRANGERS = [
    "https://charts.example.evil/x",
    "https://sub.charts.example/x",
    "https://charts.example:8443/x",
    "http://charts.example/x",
]


@pytest.mark.parametrize("url", STRANGERS)
def test_another_host_port_or_scheme_sees_no_credentials(url: str) -> None:
    for access in (MINE.for_file(yarl.URL(url)), MINE.for_redirect(yarl.URL(url))):
        assert (access.username, access.password) == ("", "")
        assert access.tls == Tls(ca="ca"), "trust stays, the client's certificate does not"


def test_the_same_origin_sees_them() -> None:
    url = yarl.URL("https://CHARTS.example:443/elsewhere")

    for access in (MINE.for_file(url), MINE.for_redirect(url)):
        assert (access.username, access.password, access.tls) == ("me", "secret", TLS)


@pytest.mark.shows("field:HelmRepository/spec.passCredentials")
@pytest.mark.parametrize("url", STRANGERS)
def test_passing_credentials_on_covers_files_and_no_redirect(url: str) -> None:
    everywhere = Access(HOME, "me", "secret", TLS, everywhere=True)
    file = everywhere.for_file(yarl.URL(url))

    assert (file.username, file.password) == ("me", "secret")
    assert everywhere.for_redirect(yarl.URL(url)).password == ""
    assert file.for_redirect(yarl.URL("https://third.example/")).password == ""
    assert file.for_redirect(yarl.URL(url)).password == "secret"


def test_nothing_shown_has_secrets() -> None:
    assert shown(yarl.URL("https://me:pw@h.example:1/a?sig=s3#x")) == "https://h.example:1/a"
    assert "secret" not in repr(MINE)
    assert "key" not in repr(TLS)


def test_tls_of_a_secret_by_new_and_old_names() -> None:
    assert tls_from_secret({"ca.crt": b"a", "tls.crt": b"c", "tls.key": b"k"}) == Tls("a", "c", "k")
    assert tls_from_secret({"caFile": b"a", "certFile": b"c", "keyFile": b"k"}) == Tls(
        "a", "c", "k"
    )
    assert tls_from_secret({"ca.crt": b"a", "caFile": b"old"}) == Tls("a")
    assert tls_from_secret({"username": b"x"}) == Tls()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tls.crt": b"c"}, "'tls.crt' is set without 'tls.key'"),
        ({"tls.key": b"k"}, "'tls.key' is set without 'tls.crt'"),
        ({"ca.crt": b"\xff"}, "'ca.crt' is not text"),
    ],
)
def test_half_a_pair_is_refused(values: dict[str, bytes], message: str) -> None:
    with pytest.raises(InvalidTls, match=message):
        tls_from_secret(values)


def test_certificates_that_do_not_fit_are_refused_without_telling_them() -> None:
    certificate, key = TestCA().pair()
    other = TestCA().pair()[1]
    tls_context(Tls(certificate=certificate, key=key))
    for tls in (Tls(certificate=certificate, key=other), Tls(certificate="secret", key="secret")):
        with pytest.raises(InvalidTls, match="belong together") as caught:
            tls_context(tls)
        assert "secret" not in str(caught.value)
    with pytest.raises(InvalidTls, match="no certificate"):
        tls_context(Tls(ca="secret"))


# --- compressed answers ---------------------------------------------------------------------------


def packed(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_blocks_of_any_size_are_decompressed(size: int) -> None:
    content = bytes(range(256)) * 500
    data = packed(content) + packed(b"and more")
    gunzip = Gunzip()
    out = b"".join(
        piece
        for start in range(0, len(data), size)
        for piece in gunzip.feed(data[start : start + size])
    )

    assert out == content + b"and more"
    assert gunzip.complete


def test_a_bomb_comes_in_small_pieces() -> None:
    pieces = Gunzip().feed(packed(bytes(16 << 20)))

    assert max(len(next(pieces)) for _ in range(20)) <= 1 << 18


def test_endless_empty_streams_end() -> None:
    pieces = Gunzip().feed(packed(b"") * 20_000)
    with pytest.raises(zlib.error, match="too many"):
        list(pieces)


def test_what_ends_early_or_is_no_gzip_is_noticed() -> None:
    gunzip = Gunzip()
    list(gunzip.feed(packed(b"x" * 1000)[:-4]))
    assert not gunzip.complete
    with pytest.raises(zlib.error):
        list(Gunzip().feed(b"plain text"))

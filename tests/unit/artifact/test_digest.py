from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fluvial.artifact.digest import ALGORITHMS, Digest, digest_file, new_hasher
from fluvial.artifact.errors import DigestMismatch, InvalidDigest


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_digest_of_a_file_is_that_of_hashlib(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    digest = digest_file(path, algorithm)

    assert digest.hex == hashlib.new(algorithm, b"x" * 3_000_000).hexdigest()
    assert Digest.parse(str(digest)) == digest


def test_blake3_is_that_of_its_published_values(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(n % 251 for n in range(102_400)))
    digest = digest_file(path, "blake3")

    assert digest.hex == "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"
    assert Digest.parse(str(digest)) == digest


def test_others_are_refused_with_what_to_use_instead() -> None:
    with pytest.raises(InvalidDigest, match="'sha1': use one of sha256, sha384, sha512, blake3"):
        new_hasher("sha1")
    assert set(ALGORITHMS) == {"sha256", "sha384", "sha512", "blake3"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:abc",
        "SHA256:" + "a" * 64,
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 65,
        "sha1:" + "a" * 40,
        "sha256:" + "a" * 63 + "/",
        "../sha256:" + "a" * 64,
        "sha256:" + "a" * 64 + "\n",
    ],
)
def test_malformed_digests_are_refused(text: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


def test_a_mismatch_names_what_and_both_digests() -> None:
    one, other = Digest("sha256", "a" * 64), Digest("sha256", "b" * 64)
    one.check(one, what="it")

    with pytest.raises(DigestMismatch, match=r"the file has digest sha256:bbb.*sha256:aaa"):
        one.check(other, what="the file")

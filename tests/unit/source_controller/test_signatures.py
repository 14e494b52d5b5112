"""Signatures of commits and tags: by real signers, and first what must not pass."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gitservers.signing import Gpg, needs_gpg, ssh_sign
from gitservers.ssh import make_key
from source_controller.git.signatures import SignatureInvalid, split_tag, verify

PAYLOAD = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b.c> 1 +0000\n\nHello\n"


class SshKey:
    def __init__(self, folder: Path, kind: str) -> None:
        self.path = folder / f"id_{kind}"
        _, self.public = make_key(self.path, kind=kind)

    @property
    def keys(self) -> dict[str, str]:
        return {"author.sshpub": self.public}


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SshKey]:
    folder = tmp_path_factory.mktemp("keys")
    return {kind: SshKey(folder, kind) for kind in ("ed25519", "ecdsa", "rsa")}


def refused(signature: str, keys: dict[str, str], payload: bytes = PAYLOAD) -> str:
    with pytest.raises(SignatureInvalid) as caught:
        verify(signature, payload, keys)
    return str(caught.value)


# --- what must not pass -----------------------------------------------------------------------


def test_what_is_not_signed_is_refused(ssh: dict[str, SshKey]) -> None:
    assert refused("", ssh["ed25519"].keys) == "it is not signed"
    assert "X.509" in refused("-----BEGIN SIGNED MESSAGE-----\n", ssh["ed25519"].keys)
    assert "unknown kind" in refused("-----BEGIN CERTIFICATE-----\n", ssh["ed25519"].keys)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_ssh_over_other_content_by_another_key_or_for_another_purpose(
    ssh: dict[str, SshKey], kind: str
) -> None:
    key, other = ssh[kind], ssh["ed25519" if kind != "ed25519" else "rsa"]
    signature = ssh_sign(key.path, PAYLOAD)

    assert "does not fit the content" in refused(signature, key.keys, PAYLOAD + b"x")
    assert "unknown SSH key SHA256:" in refused(signature, other.keys)
    assert "not made for git" in refused(ssh_sign(key.path, PAYLOAD, namespace="file"), key.keys)


def test_a_signature_that_names_a_trusted_key_but_is_anothers(ssh: dict[str, SshKey]) -> None:
    mine = _unarmored(ssh_sign(ssh["ed25519"].path, PAYLOAD))
    theirs = _unarmored(ssh_sign(ssh["rsa"].path, PAYLOAD))
    trusted, untrusted = (base64.b64decode(ssh[k].public.split()[1]) for k in ("ed25519", "rsa"))
    mixed = theirs.replace(_packed(untrusted), _packed(trusted))

    assert mixed != theirs
    assert "does not fit" in refused(_armored(mixed), ssh["ed25519"].keys)
    assert verify(_armored(mine), PAYLOAD, ssh["ed25519"].keys)


@pytest.mark.parametrize("keys", [{}, {"a.sshpub": ""}, {"a.sshpub": "# none"}, {"a.asc": "x"}])
def test_no_key_is_no_permission(ssh: dict[str, SshKey], keys: dict[str, str]) -> None:
    assert "the Secret has none" in refused(ssh_sign(ssh["ed25519"].path, PAYLOAD), keys)


@given(cut=st.integers(min_value=0, max_value=180), flip=st.integers(min_value=0, max_value=7))
def test_no_altered_ssh_signature_passes(ssh: dict[str, SshKey], cut: int, flip: int) -> None:
    key = ssh["ed25519"]
    whole = _whole(key)
    position = cut % len(whole)
    altered = bytearray(whole)
    altered[position] ^= 1 << flip

    assert refused(_armored(bytes(altered)), key.keys)
    assert refused(_armored(whole[:position]), key.keys)
    assert refused(_armored(whole + b"\x00"), key.keys)


_signed: dict[Path, bytes] = {}


def _whole(key: SshKey) -> bytes:
    if key.path not in _signed:
        _signed[key.path] = _unarmored(ssh_sign(key.path, PAYLOAD))
    return _signed[key.path]


# --- what must pass -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_openssh_signatures_hold(ssh: dict[str, SshKey], kind: str) -> None:
    key = ssh[kind]
    others = {
        "z.sshpub": f'# a comment\nnamespaces="git" {key.public} me@host\n',
        "bad.sshpub": "x",
    }
    expected = base64.b64encode(
        hashlib.sha256(base64.b64decode(key.public.split()[1])).digest()
    ).decode()

    assert verify(ssh_sign(key.path, PAYLOAD), PAYLOAD, others) == "SHA256:" + expected.rstrip("=")


@pytest.mark.parametrize(("flags", "good"), [(1, True), (5, True), (0, False), (4, False)])
def test_a_security_token_signs_only_with_its_user_present(flags: int, *, good: bool) -> None:
    """Made by PROTOCOL.u2f's layout, since no token is at hand."""
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kind = b"sk-ssh-ed25519@openssh.com"
    key = _packed(kind) + _packed(raw) + _packed(b"ssh:")
    digest = _packed(hashlib.sha512(PAYLOAD).digest())
    signed = b"SSHSIG" + _packed(b"git") + _packed(b"") + _packed(b"sha512") + digest
    tail = bytes([flags]) + (7).to_bytes(4, "big")
    made = private.sign(hashlib.sha256(b"ssh:").digest() + tail + hashlib.sha256(signed).digest())
    signature = _packed(kind) + _packed(made) + tail
    head = b"SSHSIG" + (1).to_bytes(4, "big") + _packed(key) + _packed(b"git") + _packed(b"")
    blob = _armored(head + _packed(b"sha512") + _packed(signature))
    keys = {"a.sshpub": f"{kind.decode()} {base64.b64encode(key).decode()}"}
    if good:
        assert verify(blob, PAYLOAD, keys).startswith("SHA256:")
    else:
        assert "does not fit" in refused(blob, keys)


def test_a_tag_is_split_where_its_signature_begins(ssh: dict[str, SshKey]) -> None:
    signature = ssh_sign(ssh["ed25519"].path, PAYLOAD)
    quoted = PAYLOAD + b"see -----BEGIN SSH SIGNATURE----- in the text\n"

    assert split_tag(PAYLOAD + signature.encode()) == (signature, PAYLOAD)
    assert split_tag(quoted) == ("", quoted)


# --- OpenPGP --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    folder = Path(tempfile.mkdtemp(prefix="gpg-"))  # short: its agent's socket is in it
    made = Gpg(folder / "home")
    made.make_key("author")
    made.make_key("rsa", kind="rsa2048")
    made.make_key("stranger")
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@needs_gpg
def test_pgp_over_other_content_or_by_another_key(gpg: Gpg) -> None:
    signature = gpg.sign("author", PAYLOAD)
    author, stranger = ({"k.asc": gpg.public_key(who)} for who in ("author", "stranger"))

    assert "none of the OpenPGP keys" in refused(signature, author, PAYLOAD + b"x")
    assert "none of the OpenPGP keys" in refused(signature, stranger)
    assert "the Secret has none" in refused(signature, {"k.asc": "nonsense"})
    assert "the Secret has none" in refused(signature, {"k.sshpub": author["k.asc"]})
    assert "none of the OpenPGP keys" in refused(signature[:90] + signature[120:], author)


@needs_gpg
@pytest.mark.parametrize("who", ["author", "rsa"])
def test_pgp_signatures_hold(gpg: Gpg, who: str) -> None:
    public = gpg.public_key(who)
    broken = public.replace(public.splitlines()[3], "AAAA", 1)
    keys = {"a-broken.asc": broken, "ring": gpg.public_key("stranger") + "\n" + public}

    assert verify(gpg.sign(who, PAYLOAD), PAYLOAD, keys) == _key_id(gpg, who)


@needs_gpg
def test_a_key_that_had_expired_signs_nothing(gpg: Gpg) -> None:
    gpg.run(
        *("--faked-system-time", "20200101T000000!", "--quick-generate-key"),
        *("old <old@example.com>", "ed25519", "sign", "1d"),
    )
    late = gpg.sign("old", PAYLOAD, "--faked-system-time", "20200101T120000!")
    keys = {"k.asc": gpg.public_key("old")}

    assert verify(late, PAYLOAD, keys), "signed while the key was good"
    with pytest.raises(Exception, match=r"."):
        gpg.sign("old", PAYLOAD)


@needs_gpg
def test_a_revoked_key_signs_nothing(gpg: Gpg) -> None:
    fingerprint = gpg.make_key("revoked")
    signature = gpg.sign("revoked", PAYLOAD)
    assert verify(signature, PAYLOAD, {"k.asc": gpg.public_key("revoked")})

    certificate = gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev"
    text = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
    gpg.run("--import", data=text.encode())

    assert "none of the OpenPGP keys" in refused(signature, {"k.asc": gpg.public_key("revoked")})


def _key_id(gpg: Gpg, who: str) -> str:
    lines = gpg.run("--with-colons", "--list-keys", who).decode().splitlines()
    return next(line.split(":")[4] for line in lines if line.startswith("pub"))


def _packed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _unarmored(text: str) -> bytes:
    return base64.b64decode("".join(text.strip().splitlines()[1:-1]))


def _armored(data: bytes) -> str:
    body = base64.b64encode(data).decode()
    return f"-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n"

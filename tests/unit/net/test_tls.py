"""Trust and client certificates out of Secrets; first what is refused, and at once."""

from __future__ import annotations

import pytest

from clouds.hostile import ENDLESS, locked_pem
from fluvial.net.tls import InvalidTls, Tls, tls_context
from gitservers.certs import TestCA

_LEGACY = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAA==\n"
)


@pytest.mark.parametrize("locked", [locked_pem(ENDLESS).decode(), _LEGACY], ids=["pkcs8", "legacy"])
@pytest.mark.parametrize("place", ["key", "certificate"])
def test_a_key_that_is_encrypted_is_not_even_tried(locked: str, place: str) -> None:
    """There is no password for it, and a key would be derived in as many rounds as it says."""
    certificate, key = TestCA().pair()
    hostile = Tls(certificate=certificate, key=locked)
    if place == "certificate":
        hostile = Tls(certificate=locked + certificate, key=key)
    with pytest.raises(InvalidTls, match="encrypted"):
        tls_context(hostile)


def test_a_pair() -> None:
    ca = TestCA()
    certificate, key = ca.pair()

    context = tls_context(Tls(ca=ca.pem, certificate=certificate, key=key))
    assert context.cert_store_stats()["x509_ca"] >= 1

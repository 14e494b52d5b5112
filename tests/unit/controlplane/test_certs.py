"""Certificates that TLS itself accepts."""

from __future__ import annotations

import ssl
from pathlib import Path

from controlplane.certs import Authority, new_key_pem, public_key_pem


def test_serving_certificate_is_trusted_through_its_authority(tmp_path: Path) -> None:
    authority = Authority("test")
    pair = authority.server(hosts=("127.0.0.1", "localhost"))
    (tmp_path / "pair.pem").write_bytes(pair.certificate + pair.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "pair.pem")
    client = ssl.create_default_context(cadata=authority.ca_pem.decode())
    sides = [ssl.MemoryBIO() for _ in range(2)]
    there = server.wrap_bio(sides[0], sides[1], server_side=True)
    here = client.wrap_bio(sides[1], sides[0], server_hostname="127.0.0.1")

    for side in (here, there, here, there):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue

    assert here.getpeercert() is not None


def test_public_key_is_not_the_private_one() -> None:
    private = new_key_pem()

    assert b"PUBLIC KEY" in public_key_pem(private)
    assert b"PRIVATE" not in public_key_pem(private)

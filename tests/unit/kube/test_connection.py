"""Client certificates of kubeconfigs, which tenants write, too."""

from __future__ import annotations

import ssl

import pytest

from clouds.hostile import ENDLESS, locked_pem
from fluvial.kube.connection import BadConnection, load_client_certificate
from gitservers.certs import TestCA


@pytest.mark.parametrize("place", ["key", "certificate"])
def test_a_key_that_is_encrypted_is_not_even_tried(place: str) -> None:
    """There is no password for it, and a key would be derived in as many rounds as it says."""
    certificate, key = (text.encode() for text in TestCA().pair())
    if place == "key":
        key = locked_pem(ENDLESS)
    else:
        certificate = locked_pem(ENDLESS) + certificate
    with pytest.raises(BadConnection, match="is encrypted"):
        load_client_certificate(ssl.create_default_context(), certificate, key)

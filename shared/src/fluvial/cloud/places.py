"""Where a cloud says that a cluster's API server is, in the form that is compared and used."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime

from fluvial.cloud.http import Answer
from fluvial.kube.connection import BadConnection, tls_context
from fluvial.kube.described import BadDescription, Endpoint, canonical_address

__all__ = ["Places", "authority_of", "place_of"]


@dataclass(frozen=True, slots=True)
class Places:
    """All addresses of one, the usual one first, and until when they are believed."""

    all: tuple[Endpoint, ...]
    expires_at: datetime | None


def place_of(answer: Answer, address: object, ca: str) -> Endpoint:
    """An address out of an answer.

    Raises:
        LoginUnreachable: it is none.

    """
    if not isinstance(address, str) or not address:
        raise answer.unreadable()
    try:
        return Endpoint(canonical_address(address), ca)
    except BadDescription:
        raise answer.unreadable() from None


def authority_of(answer: Answer, data: object) -> str:
    """An authority out of an answer, from the base64 of its PEM.

    Raises:
        LoginUnreachable: it is none.

    """
    try:
        pem = base64.b64decode(data, validate=True) if isinstance(data, str) else b""
        tls_context(ca=pem)
        text = pem.decode("ascii")
    except (binascii.Error, ValueError, BadConnection):
        raise answer.unreadable() from None
    if not text.strip():
        raise answer.unreadable()
    return text

"""Tokens and signatures in headers.

GitHub and Gitea: https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries,
GitLab: https://docs.gitlab.com/user/project/integrations/webhooks/, Bitbucket:
https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/, Nexus:
https://help.sonatype.com/en/working-with-hmac-payloads.html, Harbor: its ``auth_header``.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from notification_controller.proof.call import Call, Refused

__all__ = ["bearer_of", "same_token", "signed", "signed_hex"]

_HEX = re.compile(r"[0-9a-fA-F]+")


def same_token(call: Call, header: str, token: bytes) -> None:
    """The header is the token itself.

    Raises:
        Refused: it is missing or another one.

    """
    sent = call.header(header)
    if not sent:
        raise Refused(f"the header {header} is missing")
    if not hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), token):
        raise Refused(f"the header {header} is not the token")


def signed(call: Call, header: str, token: bytes, *, hashes: tuple[str, ...]) -> None:
    """The header is ``<hash>=<hex HMAC of the body>``.

    Args:
        call: the request.
        header: with the signature.
        token: the key.
        hashes: that may be used.

    Raises:
        Refused: it is missing, malformed, of another hash, or of another body or key.

    """
    sent = call.header(header)
    if not sent:
        raise Refused(f"the header {header} is missing")
    name, equals, value = sent.partition("=")
    if not equals or name not in hashes:
        raise Refused(f"the header {header} must be {' or '.join(hashes)}=<hex>")
    _compare(call, header, value, token, name)


def signed_hex(call: Call, header: str, token: bytes, *, hash_name: str) -> None:
    """The header is the hex HMAC of the body.

    Raises:
        Refused: it is missing, malformed, or of another body or key.

    """
    sent = call.header(header)
    if not sent:
        raise Refused(f"the header {header} is missing")
    _compare(call, header, sent, token, hash_name)


def bearer_of(call: Call) -> str:
    """The bearer token of the call.

    Raises:
        Refused: there is none.

    """
    scheme, _, token = call.header("Authorization").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused("the header Authorization must have a bearer token")
    if not token.isascii():
        raise Refused("the bearer token has characters that no token has")
    return token.strip()


def _compare(call: Call, header: str, value: str, token: bytes, hash_name: str) -> None:
    if not _HEX.fullmatch(value):
        raise Refused(f"the signature of the header {header} is not hexadecimal")
    wanted = hmac.new(token, call.body, getattr(hashlib, hash_name)).hexdigest()
    if not hmac.compare_digest(value.lower(), wanted):
        raise Refused(f"the signature of the header {header} is not that of this body and token")

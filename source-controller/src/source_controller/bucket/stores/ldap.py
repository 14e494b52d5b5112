"""Temporary keys of a storage whose users are in LDAP, by its token service.

AssumeRoleWithLDAPIdentity, as MinIO and those that follow it have it:
https://min.io/docs/minio/linux/developers/security-token-service/AssumeRoleWithLDAPIdentity.html.
"""

from __future__ import annotations

from urllib.parse import urlencode

import aiohttp
from yarl import URL

from fluvial.cloud.errors import LoginUnreachable
from fluvial.cloud.http import Answer, Question, exchange
from fluvial.cloud.model import AwsCredentials
from source_controller.bucket.stores import xml
from source_controller.bucket.stores.errors import BadCredentials, InvalidAnswer, Unreachable

__all__ = ["assume_role"]

_VERSION = "2011-06-15"
_RESULT = ("AssumeRoleWithLDAPIdentityResult", "Credentials")


async def assume_role(
    endpoint: URL,
    *,
    username: str,
    password: str,
    connector: aiohttp.BaseConnector,
    seconds: float,
) -> AwsCredentials:
    """Keys for a user, or for whoever the client certificate of the connection says.

    Args:
        endpoint: of the token service.
        username: in LDAP; ``""`` for none.
        password: the same.
        connector: makes the connection, and is closed.
        seconds: that it may take.

    Raises:
        BadCredentials: the service refuses.
        Unreachable: it gives no answer, or none with keys in it.

    """
    form = {
        "Action": "AssumeRoleWithLDAPIdentity",
        "Version": _VERSION,
        "LDAPUsername": username,
        "LDAPPassword": password,
    }
    question = Question(
        "POST",
        endpoint,
        "temporary keys",
        {"Content-Type": "application/x-www-form-urlencoded"},
        urlencode(form).encode(),
        (password,),
    )
    try:
        answer = await exchange(question, connector, seconds=seconds)
    except LoginUnreachable as error:
        raise Unreachable(str(error)) from error
    return _keys(answer, endpoint)


def _keys(answer: Answer, endpoint: URL) -> AwsCredentials:
    try:
        root = xml.parse(answer.body)
    except InvalidAnswer:
        root = xml.Element("")
    if answer.status != 200:
        code = root.value("Error", "Code")
        shown = f" ({code})" if code.isalnum() and len(code) < 65 else ""
        raise BadCredentials(
            f"{endpoint.host} answered {answer.status}{shown} instead of giving temporary keys"
        )
    found = next(root.all(*_RESULT), xml.Element(""))
    keys = AwsCredentials(
        found.value("AccessKeyId").strip(),
        found.value("SecretAccessKey").strip(),
        found.value("SessionToken").strip(),
    )
    texts = (keys.access_key, keys.secret_key, keys.session_token)
    if not (keys.access_key and keys.secret_key) or not all(
        text.isascii() and (text.isprintable() or not text) for text in texts
    ):
        raise Unreachable(f"{endpoint.host} gave an answer without temporary keys")
    return keys

"""A Provider with its Secrets, read live for every message: what was changed counts at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from fluvial.api.meta import LocalObjectReference
from fluvial.api.notification import Provider
from fluvial.build.yaml import load_one
from fluvial.cloud import model as cloud
from fluvial.cloud.identities import CloudIdentities
from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.secrets import secret_data
from fluvial.net.proxy import ProxyServer
from fluvial.net.tls import InvalidTls, Tls, tls_context, tls_from_secret
from fluvial.objects import ObjectKey
from notification_controller.provider.commits import COMMIT_TYPES
from notification_controller.provider.lending import Lending, whose
from notification_controller.provider.login import logged_in
from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.sender import Way
from notification_controller.provider.settings import Settings

__all__ = ["Loaded", "load", "send_with_fresh_token"]

_LONGEST_ADDRESS = 2048
_OF_APPS = "githubApp"
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that sending needs."""

    settings: Settings
    way: Way
    timeout: float
    secrets: tuple[str, ...] = field(repr=False)


async def send_with_fresh_token(
    send: Callable[[Loaded], Awaitable[None]],
    loaded: Loaded,
    reload: Callable[[str], Awaitable[Loaded]],
) -> None:
    """Send, and once more with another token where that of a GitHub App is refused.

    Args:
        send: sends.
        loaded: with what.
        reload: loads again, given the token that was refused.

    Raises:
        SendFailed: as ``send`` and ``reload``.

    """
    try:
        await send(loaded)
    except SendFailed as error:
        token = loaded.settings.token
        if error.status != _UNAUTHORIZED or not loaded.settings.app:
            raise
        fresh = await reload(token)
        if fresh.settings.token == token:
            raise
        await send(fresh)


async def load(
    client: KubeClient, provider: Provider, identities: CloudIdentities, *, refused: str = ""
) -> Loaded:
    """Read what a Provider names, and log in where its Secret is not itself what is shown.

    Args:
        client: reads it, as the controller.
        provider: the Provider.
        identities: log in.
        refused: a token of a GitHub App that the service has refused.

    Raises:
        SendFailed: a Secret or service account is missing or cannot be used; nothing of it is
            repeated.

    """
    spec, namespace = provider.spec, provider.metadata.namespace
    identity = whose(identities, namespace, spec.service_account_name)
    secret = await _read(client, namespace, spec.secret_ref, "spec.secretRef")
    settings = _settings(provider, secret, now=identities.clock.now())
    proxy_secret = await _read(client, namespace, spec.proxy_secret_ref, "spec.proxySecretRef")
    proxy = _proxy(spec.proxy, proxy_secret, secret)
    certificates = await _read(client, namespace, spec.cert_secret_ref, "spec.certSecretRef")
    if spec.cert_secret_ref is None and spec.type in COMMIT_TYPES:
        certificates = secret
    tls = _tls(certificates)
    try:
        context = await asyncio.to_thread(tls_context, tls)
    except InvalidTls as error:
        raise SendFailed(f"the Secret of spec.certSecretRef: {error}", again=False) from error
    asker = {
        "controllerKind": kinds.PROVIDER.kind,
        "namespace": namespace,
        "name": provider.metadata.name,
    }
    with structlog.contextvars.bound_contextvars(**asker):  # for the metrics of tokens
        settings = await logged_in(
            settings,
            {name: _text(secret, name) for name in secret if name.startswith(_OF_APPS)},
            lending=Lending(identities, identity, cloud.Way(proxy, tls.ca)),
            service_account=spec.service_account_name,
            timeout=spec.timeout_seconds,
            refused=refused,
        )
    hidden = (*settings.secrets, *((proxy.password,) if proxy and proxy.password else ()))
    return Loaded(settings, Way(proxy, context), spec.timeout_seconds, hidden)


async def _read(
    client: KubeClient, namespace: str, reference: LocalObjectReference | None, name: str
) -> dict[str, bytes]:
    if reference is None:
        return {}
    key = ObjectKey(namespace, reference.name)
    try:
        return secret_data(await client.get(kinds.SECRET, key))
    except NotFound as error:
        raise SendFailed(f"the Secret '{key}' of {name} does not exist", again=True) from error
    except (FluvialError, ValueError) as error:
        raise SendFailed(
            f"the Secret '{key}' of {name} cannot be read: {error}", again=True
        ) from error


def _settings(provider: Provider, secret: Mapping[str, bytes], *, now: datetime) -> Settings:
    spec = provider.spec
    texts = {name: _text(secret, name) for name in ("address", "token", "username", "password")}
    if len(texts["address"]) > _LONGEST_ADDRESS:
        raise SendFailed(
            f"the Secret's address is longer than {_LONGEST_ADDRESS} characters", again=False
        )
    username = texts["username"] or spec.username
    if texts["password"] and not username:
        raise SendFailed("the Secret has a password without a username", again=False)
    return Settings(
        type=spec.type,
        address=texts["address"] or spec.address,
        channel=spec.channel,
        username=username,
        token=texts["token"],
        password=texts["password"],
        headers=_headers(_text(secret, "headers")),
        creds=_text(secret, "creds"),
        nkey=_text(secret, "nkey"),
        now=now,
    )


def _text(secret: Mapping[str, bytes], name: str) -> str:
    try:
        return secret.get(name, b"").decode().strip()
    except UnicodeDecodeError:
        raise SendFailed(f"the Secret's {name} is not text", again=False) from None


def _headers(text: str) -> dict[str, str]:
    if not text:
        return {}
    problem = SendFailed("the Secret's headers are not a YAML mapping of texts", again=False)
    try:
        found: Any = load_one(text.encode())
    except (FluvialError, ValueError):
        raise problem from None
    if not isinstance(found, dict):
        raise problem
    headers = {str(name): str(value) for name, value in found.items()}
    if any(not _is_printable(name) or not _is_printable(value) for name, value in headers.items()):
        raise problem
    return headers


def _is_printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _proxy(
    address: str, proxy_secret: Mapping[str, bytes], secret: Mapping[str, bytes]
) -> ProxyServer | None:
    """That of its own Secret, else the older ways: of the Secret, of the spec."""
    try:
        if proxy_secret:
            return ProxyServer.parse(
                _text(proxy_secret, "address"),
                username=_text(proxy_secret, "username"),
                password=_text(proxy_secret, "password"),
            )
        older = _text(secret, "proxy") or address
        return ProxyServer.parse(older) if older else None
    except ValueError as error:
        raise SendFailed(f"the proxy cannot be used: {error}", again=False) from error


def _tls(values: Mapping[str, bytes]) -> Tls:
    try:
        return tls_from_secret(values)
    except InvalidTls as error:
        raise SendFailed(f"the Secret of spec.certSecretRef: {error}", again=False) from error

"""Clients of other clusters, from kubeconfigs that tenants wrote.

A tenant's kubeconfig is hostile input that runs with the controller's identity. It is rebuilt
field by field: server, path, TLS name, certificate data, proxy, basic auth and inline token are
taken; everything that names a file of the controller, starts a program or turns verification off
is refused with a text that says what to write instead; ``as`` and ``as-groups`` are dropped, as
Flux does (the identity is ``spec.serviceAccountName``'s). No file named in it is ever opened.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from fluvial.clock import Clock, RealClock
from fluvial.errors import FluvialError
from fluvial.kube.auth import Auth, CredentialsError, ExecAuth, NoAuth, StaticAuth, basic, bearer
from fluvial.kube.connection import (
    AddressCheck,
    BadConnection,
    Connection,
    load_client_certificate,
    proxy_for,
    tls_context,
)
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.kubeconfig import InvalidKubeConfig, Selected, parse, select
from fluvial.kube.retry import RetryPolicy
from fluvial.kube.transport import RequestHook

__all__ = ["KubeConfigRefused", "client_from_kubeconfig"]

_TIMEOUT = 30.0
_FILES = (
    ("cluster", "certificate-authority", "certificate-authority-data"),
    ("user", "client-certificate", "client-certificate-data"),
    ("user", "client-key", "client-key-data"),
    ("user", "tokenFile", "token"),
)


class KubeConfigRefused(FluvialError):
    """The kubeconfig is not valid or asks for what is not allowed; the text says what to change."""


async def client_from_kubeconfig(
    data: bytes,
    *,
    allow_exec: bool,
    allow_insecure_tls: bool,
    user_agent: str,
    environ: Mapping[str, str] | None = None,
    check_address: AddressCheck | None = None,
    retry: RetryPolicy | None = None,
    on_request: RequestHook | None = None,
    max_connections: int = 20,
    clock: Clock | None = None,
) -> HttpKubeClient:
    """A client for a kubeconfig out of a Secret. Opens no connection yet.

    Args:
        data: the document, YAML or JSON, at most 1 MiB.
        allow_exec: credential plugins may run (``--insecure-kubeconfig-exec``).
        allow_insecure_tls: TLS may go unverified, or be absent (``--insecure-kubeconfig-tls``).
        user_agent: sent with every request.
        environ: where the process's proxies are named; used if the document names none.
        check_address: refuses addresses that tenants must not reach.
        retry: bounds of the repetitions.
        on_request: counts requests.
        max_connections: connections for requests to that cluster.
        clock: the time.

    Raises:
        KubeConfigRefused: see its text; do not retry before the Secret has changed.

    """
    clock = clock or RealClock()
    try:
        selected = select(await asyncio.to_thread(parse, data))
        _refuse(selected, allow_exec=allow_exec, allow_insecure_tls=allow_insecure_tls)
        tls = await asyncio.to_thread(_tls, selected)
        connection = Connection(
            server=selected.server,
            tls=tls,
            server_name=selected.text(selected.cluster, "tls-server-name"),
            proxy=_proxy(selected) or proxy_for(selected.server, environ or {}),
            auth=_auth(selected, tls, clock),
            check_address=check_address,
            trusted=False,
        )
    except (InvalidKubeConfig, BadConnection, CredentialsError) as error:
        raise KubeConfigRefused(str(error)) from error
    return HttpKubeClient(
        connection,
        user_agent=user_agent,
        retry=retry,
        timeout=_TIMEOUT,
        max_connections=max_connections,
        on_request=on_request,
        clock=clock,
    )


def _refuse(selected: Selected, *, allow_exec: bool, allow_insecure_tls: bool) -> None:
    for section, name, instead in _FILES:
        fields = selected.cluster if section == "cluster" else selected.user
        if fields.get(name) and not fields.get(instead):
            raise KubeConfigRefused(
                f"kubeconfig: {name} names a file, and files of the controller are never read;"
                f" put the content into {instead}"
            )
    if selected.user.get("auth-provider"):
        raise KubeConfigRefused(
            "kubeconfig: auth-provider is not supported; use a token or a client certificate"
        )
    if selected.user.get("exec") and not allow_exec:
        raise KubeConfigRefused(
            "kubeconfig: exec plugins are not allowed; use a token or a client certificate, or"
            " start the controller with --insecure-kubeconfig-exec"
        )
    if allow_insecure_tls:
        return
    if selected.flag(selected.cluster, "insecure-skip-tls-verify"):
        raise KubeConfigRefused(
            "kubeconfig: insecure-skip-tls-verify is not allowed; set certificate-authority-data,"
            " or start the controller with --insecure-kubeconfig-tls"
        )
    if urlsplit(selected.server).scheme.lower() == "http":
        raise KubeConfigRefused(
            "kubeconfig: the server must use https, or start the controller with"
            " --insecure-kubeconfig-tls"
        )


def _tls(selected: Selected) -> ssl.SSLContext | None:
    if urlsplit(selected.server).scheme.lower() == "http":
        return None
    return tls_context(
        ca=selected.data(selected.cluster, "certificate-authority-data"),
        certificate=selected.data(selected.user, "client-certificate-data"),
        key=selected.data(selected.user, "client-key-data"),
        insecure=selected.flag(selected.cluster, "insecure-skip-tls-verify"),
    )


def _proxy(selected: Selected) -> str:
    proxy = selected.text(selected.cluster, "proxy-url")
    if proxy and urlsplit(proxy).scheme.lower() not in {"http", "https"}:
        raise KubeConfigRefused("kubeconfig: proxy-url must be an http or https URL")
    return proxy


def _auth(selected: Selected, tls: ssl.SSLContext | None, clock: Clock) -> Auth:
    token = bearer(selected.text(selected.user, "token"))
    if token:
        return StaticAuth(token)
    username = selected.text(selected.user, "username")
    if username:
        return StaticAuth(basic(username, selected.text(selected.user, "password")))
    plugin = selected.exec_plugin()
    if plugin is None:
        return NoAuth()

    def use_certificate(certificate: bytes, key: bytes) -> None:
        if tls is not None:
            load_client_certificate(tls, certificate, key)

    return ExecAuth(plugin, clock=clock, use_certificate=use_certificate)

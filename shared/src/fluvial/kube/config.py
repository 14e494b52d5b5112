"""The controller's own client: from a kubeconfig file, or from the pod it runs in.

Called once, by ``app``. Plain kubeconfigs (certificates, tokens, basic auth, exec) and the pod's
service account are read here; only the older ``auth-provider`` section loads kubernetes-asyncio,
which costs 0.3 s and some 40 MB of memory to import and keeps private keys in temporary files.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fluvial.clock import Clock, RealClock
from fluvial.errors import FluvialError
from fluvial.kube.auth import (
    Auth,
    CredentialsError,
    ExecAuth,
    NoAuth,
    ProviderAuth,
    StaticAuth,
    TokenFileAuth,
    basic,
    bearer,
)
from fluvial.kube.connection import (
    Connection,
    load_client_certificate,
    proxy_for,
    tls_context,
)
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.kubeconfig import Selected, merge, parse, select
from fluvial.kube.transport import RequestHook, WarningHook
from fluvial.objects import JsonObject

__all__ = ["NoConfiguration", "in_cluster_connection", "kubeconfig_paths", "load_client"]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_FILE_FIELDS = {
    "clusters": ("cluster", ("certificate-authority",)),
    "users": ("user", ("client-certificate", "client-key", "tokenFile")),
}


class NoConfiguration(FluvialError):
    """Neither a kubeconfig nor a pod's service account is there, or a file cannot be read."""


async def load_client(
    *,
    kubeconfig: Path | Sequence[Path] | None,
    user_agent: str,
    in_cluster_fallback: bool = True,
    context: str = "",
    qps: float = 0.0,
    burst: int = 0,
    environ: Mapping[str, str] | None = None,
    on_request: RequestHook | None = None,
    on_warning: WarningHook | None = None,
    clock: Clock | None = None,
) -> HttpKubeClient:
    """The controller's client; with ``qps``, asks the server whether a limit is needed at all.

    Args:
        kubeconfig: one file, the files of ``KUBECONFIG`` (see ``kubeconfig_paths``), or ``None``.
        user_agent: sent with every request.
        in_cluster_fallback: without a kubeconfig, use the pod's service account.
        context: another context than the current one.
        qps: requests a second, unless the server has priority and fairness; 0 limits nothing.
        burst: requests at once before ``qps`` counts.
        environ: the process's environment (pod address, proxies); by default the real one.
        on_request: counts requests.
        on_warning: hears the server's warnings.
        clock: the time.

    Raises:
        NoConfiguration: nothing to connect with; the text names what was looked for.
        FluvialError: the kubeconfig is not valid.
        ApiError: ``qps`` is set and the server could not be asked.

    """
    clock = clock or RealClock()
    environ = os.environ if environ is None else environ
    if kubeconfig:
        paths = [kubeconfig] if isinstance(kubeconfig, Path) else list(kubeconfig)
        connection = await asyncio.to_thread(
            _from_files, paths, context=context, environ=environ, clock=clock
        )
    elif in_cluster_fallback:
        connection = await asyncio.to_thread(in_cluster_connection, environ, clock=clock)
    else:
        raise NoConfiguration("no kubeconfig was given")
    client = HttpKubeClient(
        connection,
        user_agent=user_agent,
        qps=qps,
        burst=burst,
        on_request=on_request,
        on_warning=on_warning,
        clock=clock,
    )
    if qps > 0:
        try:
            await client.use_server_side_limits()
        except BaseException:
            await client.aclose()
            raise
    return client


def kubeconfig_paths(value: str) -> tuple[Path, ...]:
    """The files that the environment variable ``KUBECONFIG`` names."""
    return tuple(Path(part).expanduser() for part in value.split(os.pathsep) if part)


def in_cluster_connection(
    environ: Mapping[str, str], *, clock: Clock, folder: Path = _SERVICE_ACCOUNT
) -> Connection:
    """The connection of a pod's service account; its token is read again every minute.

    Args:
        environ: has ``KUBERNETES_SERVICE_HOST`` and ``KUBERNETES_SERVICE_PORT``.
        clock: the time.
        folder: where the service account is mounted.

    Raises:
        NoConfiguration: this is no pod, or the account is not mounted.

    """
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    port = environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise NoConfiguration(
            "not running in a pod and no kubeconfig given: use --kubeconfig or KUBECONFIG"
        )
    token = folder / "token"
    if not token.is_file():
        raise NoConfiguration(f"the pod has no service account token at {token}")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Connection(
        server=server,
        tls=tls_context(ca=_read(folder / "ca.crt")),
        proxy=proxy_for(server, environ),
        auth=TokenFileAuth(token, clock=clock),
    )


def _from_files(
    paths: Sequence[Path], *, context: str, environ: Mapping[str, str], clock: Clock
) -> Connection:
    documents = [_absolute(parse(_read(path)), path.parent) for path in paths if path.exists()]
    if not documents:
        raise NoConfiguration(f"no kubeconfig at {', '.join(map(str, paths))}")
    selected = select(merge(documents), context=context)
    if selected.user.get("as"):
        raise NoConfiguration("kubeconfig: 'as' is not supported; use the identity's own user")
    server = selected.server
    tls = None
    if not server.startswith("http://"):
        tls = tls_context(
            ca=_content(selected, selected.cluster, "certificate-authority"),
            certificate=_content(selected, selected.user, "client-certificate"),
            key=_content(selected, selected.user, "client-key"),
            insecure=selected.flag(selected.cluster, "insecure-skip-tls-verify"),
        )
    proxy = selected.text(selected.cluster, "proxy-url") or proxy_for(server, environ)
    return Connection(
        server=server,
        tls=tls,
        server_name=selected.text(selected.cluster, "tls-server-name"),
        proxy=proxy,
        auth=_auth(selected, tls, clock),
    )


def _absolute(document: JsonObject, folder: Path) -> JsonObject:
    """Resolve the files that a document names against its own folder."""
    for section, (key, names) in _FILE_FIELDS.items():
        for entry in document.get(section) or ():
            fields = entry.get(key) if isinstance(entry, dict) else None
            for name in names:
                if isinstance(fields, dict) and fields.get(name):
                    fields[name] = str(folder / str(fields[name]))
    return document


def _content(selected: Selected, section: Mapping[str, Any], name: str) -> bytes | None:
    data = selected.data(section, f"{name}-data")
    path = selected.text(section, name)
    return _read(Path(path)) if data is None and path else data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NoConfiguration(f"cannot read {path}: {error.strerror}") from error


def _auth(selected: Selected, tls: ssl.SSLContext | None, clock: Clock) -> Auth:
    user = selected.user
    if selected.text(user, "tokenFile"):
        return TokenFileAuth(Path(selected.text(user, "tokenFile")), clock=clock)
    if selected.text(user, "token"):
        return StaticAuth(bearer(selected.text(user, "token")))
    if selected.text(user, "username"):
        return StaticAuth(basic(selected.text(user, "username"), selected.text(user, "password")))
    plugin = selected.exec_plugin()
    if plugin is not None:

        def use_certificate(certificate: bytes, key: bytes) -> None:
            if tls is not None:
                load_client_certificate(tls, certificate, key)

        return ExecAuth(plugin, clock=clock, use_certificate=use_certificate)
    if user.get("auth-provider"):
        return _provider(selected, clock)
    return NoAuth()


def _provider(selected: Selected, clock: Clock) -> Auth:
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415 - heavy and rarely needed
    from kubernetes_asyncio.config.kube_config import KubeConfigLoader  # noqa: PLC0415 - as above

    document = {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": selected.server}}],
        "users": [{"name": "it", "user": {"auth-provider": selected.user["auth-provider"]}}],
    }
    loader = KubeConfigLoader(config_dict=document)

    async def load() -> str:
        configuration = Configuration()
        try:
            await loader.load_and_set(configuration)
        except Exception as error:  # its providers raise whatever their libraries raise
            raise CredentialsError(
                f"the auth-provider of the kubeconfig failed ({type(error).__name__})"
            ) from error
        return str(configuration.api_key.get("BearerToken") or "")

    return ProviderAuth(load, clock=clock)

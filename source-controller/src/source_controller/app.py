"""Composition root of source-controller: the only place that reads flags and environment."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluvial.artifact.digest import new_hasher
from fluvial.artifact.errors import InvalidDigest
from fluvial.artifact.lock import SharedVolume
from fluvial.artifact.server import FileServer
from fluvial.artifact.storage import Retention, Storage
from fluvial.cloud.settings import CloudSettings
from fluvial.log import get_logger, setup_logging
from fluvial.net.environment import NO_PROXIES, EnvironmentProxies
from fluvial.runtime.flags import FlagError, FlagSet
from fluvial.runtime.identities import IdentityRules
from fluvial.runtime.manager import Manager
from fluvial.runtime.options import (
    IDENTITY_GATE,
    CommonOptions,
    Gate,
    common_options,
    read_common_options,
)
from fluvial.workers.landlock import landlock_version
from fluvial.workers.limits import deny_tracing
from source_controller.assemble import Parts, Settings, SourceController
from source_controller.git.model import Limits

__all__ = ["Options", "advertised_address", "main", "read_options"]

NAME = "source-controller"
_GENERATORS = "source-watcher"  # Flux' controller of ArtifactGenerators, which this one does, too
VERSION = "0.1.0"
_MIB = 2**20
_SERVER = "storage"

GATES: Mapping[str, Gate] = {
    "CacheSecretsAndConfigMaps": Gate(settable=False),
    IDENTITY_GATE: Gate(),
}
# Flags of other controllers, which source-controller of Flux does not have.
_OMITTED = (
    "insecure-kubeconfig-exec",
    "insecure-kubeconfig-tls",
    "override-manager",
    "default-kubeconfig-service-account",
)


@dataclass(frozen=True, slots=True)
class Options:
    """The common options and this controller's own.

    Attributes:
        storage_path: folder of the artifacts.
        storage_addr: where they are served.
        storage_adv_addr: host and port in their URLs; ``""`` derives it.
        hostname: of this machine, for deriving it.
        digest_algorithm: of new artifacts.
        retention: of old artifacts.
        limits: of one Git repository.
        max_index_bytes: of the index of one Helm repository.
        max_chart_bytes: of one Helm chart, packaged.
        max_chart_file_bytes: of one file in a Helm chart.
        proxies: for connections of objects that name none.

    """

    common: CommonOptions
    storage_path: Path
    storage_addr: str
    storage_adv_addr: str
    hostname: str
    digest_algorithm: str
    retention: Retention
    limits: Limits
    max_index_bytes: int
    max_chart_bytes: int
    max_chart_file_bytes: int
    cloud: CloudSettings
    proxies: EnvironmentProxies = NO_PROXIES


def read_options(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read the command line and set up logging.

    Raises:
        FlagError: a flag is unknown, has a bad value or is not supported yet.
        HelpRequested: ``--help``.

    """
    flags = FlagSet(NAME)
    common_options(flags, environ=environ, concurrent=2, omit=_OMITTED)
    _declare_storage(flags, environ)
    flags.integer("git-max-size", 1024, "Largest repository content in MiB.", minimum=1)
    flags.integer(
        "helm-index-max-size", 50 * _MIB, "Largest index of a Helm repository in bytes.", minimum=1
    )
    flags.integer("helm-chart-max-size", 10 * _MIB, "Largest Helm chart in bytes.", minimum=1)
    flags.integer(
        "helm-chart-file-max-size", 5 * _MIB, "Largest file of a Helm chart in bytes.", minimum=1
    )
    parsed = flags.parse(arguments)
    try:
        new_hasher(parsed["artifact-digest-algo"])
    except InvalidDigest as error:
        raise FlagError(f"--artifact-digest-algo: {error}") from error
    size = parsed["git-max-size"] * _MIB
    options = Options(
        common=read_common_options(
            parsed, gates=GATES, environ=environ, identity_flags=("default-service-account",)
        ),
        storage_path=Path(parsed["storage-path"]),
        storage_addr=parsed["storage-addr"],
        storage_adv_addr=parsed["storage-adv-addr"],
        hostname=environ.get("HOSTNAME", ""),
        digest_algorithm=parsed["artifact-digest-algo"],
        retention=Retention(
            ttl=parsed["artifact-retention-ttl"], records=parsed["artifact-retention-records"]
        ),
        limits=Limits(max_transfer_bytes=size, max_tree_bytes=size),
        max_index_bytes=parsed["helm-index-max-size"],
        max_chart_bytes=parsed["helm-chart-max-size"],
        max_chart_file_bytes=parsed["helm-chart-file-max-size"],
        cloud=CloudSettings.read(environ),
        proxies=_proxies(environ),
    )
    setup_logging(level=options.common.log_level, encoding=options.common.log_encoding)
    return options


async def main(options: Options) -> int:
    """Run the controller; its exit code."""
    log = get_logger(NAME)
    deny_tracing()
    if not landlock_version():
        log.info("this kernel has no Landlock: git processes are not fenced into their folders")
    async with Manager(
        options.common, name=NAME, version=VERSION, log=log, replaces=(_GENERATORS,)
    ) as manager:
        storage = Storage(
            options.storage_path,
            adv_addr="",
            clock=manager.clock,
            log=log,
            algorithm=options.digest_algorithm,
            retention=options.retention,
            max_bytes=options.limits.max_tree_bytes,
            holder=manager.identity,
            permit=manager.check_leads,
        )
        shared = SharedVolume(
            options.storage_path, leader=lambda: manager.leader, clock=manager.clock
        )

        async def serves() -> bool:
            return manager.leads or await shared.is_shared()

        server = FileServer(
            options.storage_path,
            log=log,
            algorithm=options.digest_algorithm,
            digests=storage.digests,
            available=serves,
            clock=manager.clock,
        )
        manager.serve(server.app, options.storage_addr, _SERVER)
        parts = Parts(
            client=manager.client,
            informers=manager.informers,
            events=manager.events,
            metrics=manager.metrics,
            storage=storage,
            dialer=await manager.dialer(proxies=options.proxies),
            clock=manager.clock,
            log=log,
            storage_address=lambda: advertised_address(options, manager.addresses[_SERVER]),
        )
        manager.add(SourceController(parts, settings_of(options)))
        return await manager.run()


def settings_of(options: Options) -> Settings:
    """What the flags say, as the controller takes it."""
    common = options.common
    spread = common.interval_jitter_percentage / 100
    return Settings(
        concurrency=common.concurrent,
        requeue_dependency=common.requeue_dependency,
        retry_delays=(common.min_retry_delay, common.max_retry_delay),
        namespace=common.watch_namespace,
        label_selector=common.watch_label_selector,
        limits=options.limits,
        max_index_bytes=options.max_index_bytes,
        cross_namespace=not common.no_cross_namespace_refs,
        http_retry=common.http_retry,
        max_chart_bytes=options.max_chart_bytes,
        max_chart_file_bytes=options.max_chart_file_bytes,
        identities=IdentityRules.of(
            common, options.cloud, default_account=common.default_service_account
        ),
        jitter=lambda seconds: seconds * random.uniform(1 - spread, 1 + spread),  # noqa: S311  # spreads load
    )


def advertised_address(options: Options, bound: str) -> str:
    """Host and port, or URL prefix, for artifact URLs.

    Args:
        options: the flag wins; else the host of the storage address, where no host means
            localhost and 0.0.0.0 means ``$HOSTNAME``.
        bound: ``host:port`` that is served, for the port.

    """
    if options.storage_adv_addr:
        return options.storage_adv_addr
    host = options.storage_addr.rpartition(":")[0]
    port = bound.rpartition(":")[2]
    if host in {"", "::", "[::]"}:
        host = "localhost"
    elif host == "0.0.0.0":  # noqa: S104  # compared, not bound
        host = options.hostname or "localhost"
    return f"{host}:{port}"


def _proxies(environ: Mapping[str, str]) -> EnvironmentProxies:
    try:
        return EnvironmentProxies.read(environ)
    except ValueError as error:
        raise FlagError(str(error)) from error


def _declare_storage(flags: FlagSet, environ: Mapping[str, str]) -> None:
    flags.string("storage-path", environ.get("STORAGE_PATH", "/data"), "Folder of the artifacts.")
    flags.address(
        "storage-addr", environ.get("STORAGE_ADDRESS") or ":9090", "Where artifacts are served."
    )
    flags.string(
        "storage-adv-addr",
        environ.get("STORAGE_ADV_ADDR", ""),
        "Host and port, or URL, that artifact URLs begin with; derived if empty.",
    )
    flags.duration("artifact-retention-ttl", 60.0, "How long old artifacts stay.")
    flags.integer("artifact-retention-records", 2, "Artifacts kept per object.", minimum=1)
    flags.string("artifact-digest-algo", "sha256", "sha256, sha384, sha512 or blake3.")

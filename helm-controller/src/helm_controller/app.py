"""Composition root of helm-controller: the only place that reads flags and environment."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fluvial.apply import WatchLimits
from fluvial.apply.watching import watch_flags, watch_limits
from fluvial.artifact.fetcher import Fetcher, open_fetcher
from fluvial.build.helm.postrender import PostRenderer
from fluvial.build.helm.renderer import MAX_CHART, HelmRenderer, engine_pool
from fluvial.build.kustomize import KubectlEngine
from fluvial.helm.digests import CANONICAL
from fluvial.log import get_logger, setup_logging
from fluvial.runtime.flags import FlagSet
from fluvial.runtime.manager import Manager
from fluvial.runtime.options import (
    IDENTITY_GATE,
    CommonOptions,
    Gate,
    common_options,
    read_common_options,
)
from fluvial.runtime.remotes import CloudEnvironment, remote_clusters
from helm_controller.assemble import HelmController, Parts, Settings

__all__ = ["Options", "main", "read_options", "settings_of"]

NAME = "helm-controller"
VERSION = "0.1.0"
_GRACE = 600.0  # Flux's Deployment leaves 600 s for termination
_ENGINES = 2

_OMITTED = ("override-manager",)

GATES: Mapping[str, Gate] = {
    "AdditiveCELDependencyCheck": Gate(),
    "AdoptLegacyReleases": Gate(),
    "AllowDNSLookups": Gate(settable=False),
    "CacheSecretsAndConfigMaps": Gate(settable=False),
    "CancelHealthCheckOnNewRevision": Gate(),
    "CorrectDrift": Gate(),
    "DefaultToRetryOnFailure": Gate(),
    "DetectDrift": Gate(),
    "DirectSourceFetch": Gate(settable=False),
    "DisableChartDigestTracking": Gate(),
    "DisableConfigWatchers": Gate(),
    "ExternalArtifact": Gate(),
    "OOMWatch": Gate(settable=False),
    "UseHelm3Defaults": Gate(),
    IDENTITY_GATE: Gate(),
}
"""AdoptLegacyReleases, CorrectDrift and DetectDrift have no effect, in Flux as here."""


@dataclass(frozen=True, slots=True)
class Options:
    """The common options and this controller's own.

    Attributes:
        grace: seconds that releases in hand have to finish after a signal.
        snapshot_digest: algorithm of the digests in statuses.
        drift: how much is watched of what was released.
        artifact_host: host that replaces that of artifact URLs, for running outside a cluster.
        clouds: what the environment says about them.

    """

    common: CommonOptions
    grace: float
    snapshot_digest: str
    drift: WatchLimits
    artifact_host: str
    clouds: CloudEnvironment = field(default_factory=CloudEnvironment)


def read_options(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read the command line and set up logging.

    Raises:
        FlagError: a flag is unknown, has a bad value or is not supported yet.
        HelpRequested: ``--help``.

    """
    flags = FlagSet(NAME)
    common_options(flags, environ=environ, omit=_OMITTED)
    flags.duration(
        "graceful-shutdown-timeout", _GRACE, "How long releases in hand may take after a signal."
    )
    flags.string(
        "snapshot-digest-algo",
        CANONICAL,
        "Algorithm of the digests in statuses.",
        choices=("sha256", "sha384", "sha512", "blake3"),
    )
    watch_flags(flags)
    parsed = flags.parse(arguments)
    options = Options(
        common=read_common_options(parsed, gates=GATES, environ=environ),
        grace=parsed["graceful-shutdown-timeout"],
        snapshot_digest=parsed["snapshot-digest-algo"],
        drift=watch_limits(parsed),
        artifact_host=environ.get("SOURCE_CONTROLLER_LOCALHOST", ""),
        clouds=CloudEnvironment.read(environ),
    )
    setup_logging(level=options.common.log_level, encoding=options.common.log_encoding)
    return options


async def main(options: Options) -> int:
    """Run the controller; its exit code."""
    log = get_logger(NAME)
    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fluvial-helm-")))
        manager = await stack.enter_async_context(
            Manager(options.common, name=NAME, version=VERSION, log=log, grace=options.grace)
        )
        fetcher = await _fetcher(options, manager, work, stack)
        pool = await stack.enter_async_context(
            engine_pool(log=log, size=_ENGINES, keep_spare=False)
        )
        parts = Parts.of(
            manager,
            log=log,
            fetcher=fetcher,
            renderer=HelmRenderer(pool, post_renderer=_post_renderer(work)),
            clusters=await remote_clusters(manager, options.clouds),
        )
        manager.add(HelmController(parts, settings_of(options)))
        return await manager.run()


def settings_of(options: Options) -> Settings:
    """What the flags say, as the controller takes it."""
    gates = options.common.gates
    return Settings.of(
        options.common,
        tracks_digests=not gates["DisableChartDigestTracking"],
        retries_by_default=gates["DefaultToRetryOnFailure"],
        cancels_on_new_revision=gates["CancelHealthCheckOnNewRevision"],
        helm3_defaults=gates["UseHelm3Defaults"],
        snapshot_digest=options.snapshot_digest,
        drift=options.drift,
        user_agent=f"{NAME}/{VERSION}",
    )


async def _fetcher(
    options: Options, manager: Manager, work: Path, stack: AsyncExitStack
) -> Fetcher:
    return await stack.enter_async_context(
        open_fetcher(
            work / "artifacts",
            dialer=await manager.dialer(),
            max_cache_bytes=MAX_CHART,
            max_artifact_bytes=MAX_CHART,
            retries=options.common.http_retry,
            clock=manager.clock,
            host_override=options.artifact_host,
        )
    )


def _post_renderer(work: Path) -> PostRenderer:
    home, builds = work / "home", work / "builds"
    for folder in (home, builds):
        folder.mkdir(mode=0o700)
    return PostRenderer(KubectlEngine(home), work_dir=builds)

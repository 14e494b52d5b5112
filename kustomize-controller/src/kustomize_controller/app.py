"""Composition root of kustomize-controller: the only place that reads flags and environment."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fluvial.apply import ApplyOptions, WatchLimits
from fluvial.apply.watching import watch_flags, watch_limits
from fluvial.artifact.fetcher import Fetcher, open_fetcher
from fluvial.build.builder import Builder
from fluvial.build.cache import BuildCache
from fluvial.build.kustomize import KubectlEngine
from fluvial.build.view import remove_leftovers
from fluvial.clock import Clock
from fluvial.log import get_logger, setup_logging
from fluvial.net.dialer import Dialer
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
from kustomize_controller.assemble import KustomizeController, Parts, Settings
from kustomize_controller.kustomization.rendering import Renderer

__all__ = ["Options", "main", "read_options", "work_folder"]

NAME = "kustomize-controller"
VERSION = "0.1.0"
_MIB = 2**20
_GRACE = 45.0  # Flux's Deployment leaves 60 s for termination

GATES: Mapping[str, Gate] = {
    "AdditiveCELDependencyCheck": Gate(),
    "CacheSecretsAndConfigMaps": Gate(settable=False),
    "CancelHealthCheckOnNewRevision": Gate(),
    "DirectSourceFetch": Gate(settable=False),
    "DisableConfigWatchers": Gate(),
    "DisableFailFastBehavior": Gate(),
    "DisableStatusPollerCache": Gate(default=True),
    "ExternalArtifact": Gate(),
    "GroupChangeLog": Gate(settable=False),
    "MigrateAPIVersion": Gate(settable=False),
    "StrictPostBuildSubstitutions": Gate(default=True),
    IDENTITY_GATE: Gate(),
}


@dataclass(frozen=True, slots=True)
class Options:
    """The common options and this controller's own.

    Attributes:
        concurrent_ssa: requests in flight for one Kustomization.
        custom_stage_kinds: ``group/Kind`` that are applied before the rest.
        cache_path: folder of extracted artifacts and of private copies for builds, nobody else's;
            ``""`` makes a temporary one, which a killed process leaves behind.
        cache_max_bytes: bound on extracted artifacts that nobody uses.
        artifact_max_bytes: largest artifact.
        drift: how much is watched of what was applied.
        artifact_host: host that replaces that of artifact URLs, for running outside a cluster.
        clouds: what the environment says about them.

    """

    common: CommonOptions
    concurrent_ssa: int
    custom_stage_kinds: tuple[str, ...]
    cache_path: str
    cache_max_bytes: int
    artifact_max_bytes: int
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
    common_options(flags, environ=environ)
    flags.integer("concurrent-ssa", 4, "Requests in flight for one Kustomization.", minimum=1)
    flags.switch("no-remote-bases", "Refuse remote bases; they are always refused today.")
    flags.strings("custom-apply-stage-kinds", (), "group/Kind that are applied before the rest.")
    flags.string("cache-path", "", "Folder for extracted artifacts; a temporary one by default.")
    flags.integer("cache-max-size", 1024, "Size of the artifact cache in MiB.", minimum=1)
    flags.integer("artifact-max-size", 512, "Largest artifact in MiB.", minimum=1)
    watch_flags(flags)
    parsed = flags.parse(arguments)
    options = Options(
        common=read_common_options(parsed, gates=GATES, environ=environ),
        concurrent_ssa=parsed["concurrent-ssa"],
        custom_stage_kinds=parsed["custom-apply-stage-kinds"],
        cache_path=parsed["cache-path"],
        cache_max_bytes=parsed["cache-max-size"] * _MIB,
        artifact_max_bytes=parsed["artifact-max-size"] * _MIB,
        drift=watch_limits(parsed),
        artifact_host=environ.get("SOURCE_CONTROLLER_LOCALHOST", ""),
        clouds=CloudEnvironment.read(environ),
    )
    setup_logging(level=options.common.log_level, encoding=options.common.log_encoding)
    return options


async def main(options: Options) -> int:
    """Run the controller; its exit code."""
    log = get_logger(NAME)
    with ExitStack() as stack:
        work = work_folder(options.cache_path, stack)
        async with (
            Manager(options.common, name=NAME, version=VERSION, log=log, grace=_GRACE) as manager,
            _fetcher(options, work, await manager.dialer(), manager.clock) as fetcher,
        ):
            parts = Parts.of(
                manager,
                log=log,
                renderer=_renderer(options, fetcher, manager.clock, work),
                clusters=await remote_clusters(manager, options.clouds),
            )
            manager.add(KustomizeController(parts, settings_of(options)))
            return await manager.run()


def settings_of(options: Options) -> Settings:
    """What the flags say, as the controller takes it."""
    gates = options.common.gates
    return Settings.of(
        options.common,
        concurrency_apply=options.concurrent_ssa,
        fail_fast=not gates["DisableFailFastBehavior"],
        tells_replaced_waits=gates["CancelHealthCheckOnNewRevision"],
        apply=ApplyOptions(
            override_managers=options.common.override_managers,
            custom_stage_kinds=options.custom_stage_kinds,
        ),
        drift=options.drift,
        user_agent=f"{NAME}/{VERSION}",
    )


def work_folder(cache_path: str, stack: ExitStack) -> Path:
    """The folder for artifacts and builds, without what a killed process left of its builds.

    Args:
        cache_path: of the flag; ``""`` makes a temporary folder.
        stack: removes that at the end.

    """
    if not cache_path:
        temporary = tempfile.TemporaryDirectory(prefix="fluvial-kustomize-")
        return Path(stack.enter_context(temporary))
    work = Path(cache_path)
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_leftovers(work / "builds")
    return work


def _fetcher(
    options: Options, work: Path, dialer: Dialer, clock: Clock
) -> AbstractAsyncContextManager[Fetcher]:
    return open_fetcher(
        work / "artifacts",
        dialer=dialer,
        max_cache_bytes=options.cache_max_bytes,
        max_artifact_bytes=options.artifact_max_bytes,
        retries=options.common.http_retry,
        clock=clock,
        host_override=options.artifact_host,
    )


def _renderer(options: Options, fetcher: Fetcher, clock: Clock, work: Path) -> Renderer:
    home, builds = work / "home", work / "builds"
    for folder in (home, builds):
        folder.mkdir(mode=0o700, exist_ok=True)
    return Renderer(
        fetcher,
        Builder(KubectlEngine(home), BuildCache(), clock, work_dir=builds),
        strict_substitution=options.common.gates["StrictPostBuildSubstitutions"],
        requeue_dependency=options.common.requeue_dependency,
    )

"""How an action is done: what the spec says of it, with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fluvial.api.helm import HelmRelease
from fluvial.api.helm_actions import (
    Install,
    Rollback,
    ServerSideApplyMode,
    Test,
    TestFilter,
    Uninstall,
    Upgrade,
)
from fluvial.api.meta import seconds
from fluvial.helm.release import Release
from fluvial.kube.client import Propagation

__all__ = ["ApplyOptions", "TestOptions", "UninstallOptions"]

_PROPAGATION: Final[dict[str, Propagation]] = {
    "background": "Background",
    "foreground": "Foreground",
    "orphan": "Orphan",
}


def _legacy(release: HelmRelease) -> bool:
    strategy = release.spec.wait_strategy
    return strategy is not None and strategy.name == "legacy"


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How objects are brought to the cluster: by install, upgrade or rollback.

    Attributes:
        timeout: seconds for each hook, and for all objects to be ready.
        hooks: whether hooks are run.
        wait: whether objects are waited for.
        wait_for_jobs: whether Jobs among them are.
        legacy_wait: whether they are ready as Helm 3 saw it, whatever the user's expressions say.
        strict: whether the server refuses fields that it does not know.
        take_ownership: whether objects that exist are taken, whoever has made them.
        cleanup_on_fail: whether what was created is deleted after a failure.
        create_namespace: whether the release's namespace is made (install).
        server_side: whether the server applies objects; ``auto`` is as it was done before.
        force: whether objects are replaced instead of merged, where the client applies them.
        replace: whether the name of an uninstalled or failed release is used again (install).
        history_limit: how many revisions are kept, all where 0.

    """

    timeout: float = 300.0
    hooks: bool = True
    wait: bool = True
    wait_for_jobs: bool = True
    legacy_wait: bool = False
    strict: bool = True
    take_ownership: bool = True
    cleanup_on_fail: bool = False
    create_namespace: bool = False
    server_side: ServerSideApplyMode = "auto"
    force: bool = False
    replace: bool = False
    history_limit: int = 5

    def by_server(self, previous: Release | None) -> bool:
        """Whether the server applies objects, or the client.

        Args:
            previous: which revision ``auto`` looks at: the newest for an upgrade, whatever has
                become of it; the one to go back to for a rollback; ``None`` for an install.

        """
        if self.server_side == "auto":
            return previous is None or previous.server_side
        return self.server_side == "enabled"

    @classmethod
    def of_install(cls, release: HelmRelease) -> ApplyOptions:
        """What an object says of installs."""
        spec, own = release.spec, release.spec.install or Install()
        return cls(
            timeout=seconds(own.timeout, spec.timeout_seconds),
            hooks=not own.disable_hooks,
            wait=not own.disable_wait,
            wait_for_jobs=not own.disable_wait_for_jobs,
            legacy_wait=_legacy(release),
            strict=not own.disable_open_api_validation,
            take_ownership=not own.disable_take_ownership,
            create_namespace=own.create_namespace and spec.target_namespace is not None,
            server_side="disabled" if own.server_side_apply is False else "enabled",
            replace=own.replace,
            history_limit=0,
        )

    @classmethod
    def of_upgrade(cls, release: HelmRelease) -> ApplyOptions:
        """What an object says of upgrades."""
        spec, own = release.spec, release.spec.upgrade or Upgrade()
        return cls(
            timeout=seconds(own.timeout, spec.timeout_seconds),
            hooks=not own.disable_hooks,
            wait=not own.disable_wait,
            wait_for_jobs=not own.disable_wait_for_jobs,
            legacy_wait=_legacy(release),
            strict=not own.disable_open_api_validation,
            take_ownership=not own.disable_take_ownership,
            server_side=own.server_side_apply or "auto",
            force=own.force,
            cleanup_on_fail=own.cleanup_on_fail,
            history_limit=spec.history_limit,
        )

    @classmethod
    def of_rollback(cls, release: HelmRelease) -> ApplyOptions:
        """What an object says of rollbacks."""
        spec, own = release.spec, release.spec.rollback or Rollback()
        return cls(
            timeout=seconds(own.timeout, spec.timeout_seconds),
            hooks=not own.disable_hooks,
            wait=not own.disable_wait,
            wait_for_jobs=not own.disable_wait_for_jobs,
            legacy_wait=_legacy(release),
            strict=False,
            server_side=own.server_side_apply or "auto",
            force=own.force,
            cleanup_on_fail=own.cleanup_on_fail,
            history_limit=spec.history_limit,
        )


@dataclass(frozen=True, slots=True)
class UninstallOptions:
    """How a release is uninstalled.

    Attributes:
        timeout: seconds for each hook, and for all objects to be gone.
        hooks: whether hooks are run.
        wait: whether objects are waited for until they are gone.
        keep_history: whether the records stay, marked as uninstalled.
        propagation: what becomes of the objects' dependents.

    """

    timeout: float = 300.0
    hooks: bool = True
    wait: bool = True
    keep_history: bool = False
    propagation: Propagation = "Background"

    @classmethod
    def of(cls, release: HelmRelease) -> UninstallOptions:
        """What an object says."""
        own = release.spec.uninstall or Uninstall()
        return cls(
            timeout=seconds(own.timeout, release.spec.timeout_seconds),
            hooks=not own.disable_hooks,
            wait=not own.disable_wait,
            keep_history=own.keep_history,
            propagation=_PROPAGATION[own.deletion_propagation or "background"],
        )


@dataclass(frozen=True, slots=True)
class TestOptions:
    """How a release is tested.

    Attributes:
        timeout: seconds for each test.
        filters: which tests are run.

    """

    timeout: float = 300.0
    filters: tuple[TestFilter, ...] = ()

    @classmethod
    def of(cls, release: HelmRelease) -> TestOptions:
        """What an object says."""
        own = release.spec.test or Test()
        return cls(seconds(own.timeout, release.spec.timeout_seconds), own.filters)

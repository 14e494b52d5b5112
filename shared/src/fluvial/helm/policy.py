"""What a HelmRelease says should follow when things fail, differ or are to be tested."""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.api.helm import HelmRelease
from fluvial.api.helm_actions import (
    Install,
    InstallStrategy,
    RemediationStrategy,
    Test,
    Upgrade,
    UpgradeStrategy,
)

__all__ = ["Policy", "Remedy"]


@dataclass(frozen=True, slots=True)
class Remedy:
    """What follows when one of the two release actions fails.

    Attributes:
        retries: how often to try again; without end where negative.
        strategy: how a failure is undone.
        undoes_last: whether also the failure after which no retry is left.
        ignores_tests: whether failed tests are no failure.
        retry_seconds: where nothing is undone but tried again after this time; else ``None``.

    """

    retries: int = 0
    strategy: RemediationStrategy = "uninstall"
    undoes_last: bool = False
    ignores_tests: bool = False
    retry_seconds: float | None = None

    def exhausted(self, failures: int) -> bool:
        """Whether no retry is left."""
        return 0 <= self.retries < failures


@dataclass(frozen=True, slots=True)
class Policy:
    """What the spec says about all this."""

    install: Remedy
    upgrade: Remedy
    tests: bool = False
    ignores_tests: bool = False
    detects_drift: bool = False
    corrects_drift: bool = False

    @classmethod
    def of(cls, release: HelmRelease, *, retry_by_default: bool = False) -> Policy:
        """Read it off an object.

        Args:
            release: the object.
            retry_by_default: Flux's gate ``DefaultToRetryOnFailure``.

        """
        spec = release.spec
        test = spec.test or Test()
        return cls(
            install=_install_remedy(spec.install or Install(), test, retry_by_default),
            upgrade=_upgrade_remedy(spec.upgrade or Upgrade(), test, retry_by_default),
            tests=test.enable,
            ignores_tests=test.ignore_failures,
            detects_drift=spec.detects_drift,
            corrects_drift=spec.corrects_drift,
        )


def _install_remedy(install: Install, test: Test, default: bool) -> Remedy:  # noqa: FBT001 - internal
    own = install.remediation
    ignores = own.ignore_test_failures if own else None
    return Remedy(
        retries=own.retries if own else 0,
        strategy="uninstall",
        undoes_last=own.remediates_last_failure if own else False,
        ignores_tests=test.ignore_failures if ignores is None else ignores,
        retry_seconds=_retry_seconds(
            install.strategy or (InstallStrategy(name="RetryOnFailure") if default else None)
        ),
    )


def _upgrade_remedy(upgrade: Upgrade, test: Test, default: bool) -> Remedy:  # noqa: FBT001 - internal
    own = upgrade.remediation
    ignores = own.ignore_test_failures if own else None
    return Remedy(
        retries=own.retries if own else 0,
        strategy=(own.strategy if own else None) or "rollback",
        undoes_last=own.remediates_last_failure if own else False,
        ignores_tests=test.ignore_failures if ignores is None else ignores,
        retry_seconds=_retry_seconds(
            upgrade.strategy or (UpgradeStrategy(name="RetryOnFailure") if default else None)
        ),
    )


def _retry_seconds(strategy: InstallStrategy | UpgradeStrategy | None) -> float | None:
    if strategy is None or strategy.name != "RetryOnFailure":
        return None
    return strategy.retry_seconds

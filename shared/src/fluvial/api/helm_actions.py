"""How each of Helm's actions is done for a HelmRelease: install, upgrade, test, rollback, uninstall.

Parts of the kind in ``fluvial.api.helm``; the defaults that depend on other fields are methods.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from fluvial.api.meta import CelRule, Duration, Model, doc, seconds, server_default

__all__ = [
    "ActionStrategyName",
    "CRDsPolicy",
    "Install",
    "InstallRemediation",
    "InstallStrategy",
    "Propagation",
    "RemediationStrategy",
    "Rollback",
    "ServerSideApplyMode",
    "Test",
    "TestFilter",
    "Uninstall",
    "Upgrade",
    "UpgradeRemediation",
    "UpgradeStrategy",
]

ActionStrategyName = Literal["RemediateOnFailure", "RetryOnFailure"]
CRDsPolicy = Literal["Skip", "Create", "CreateReplace"]
Propagation = Literal["background", "foreground", "orphan"]
RemediationStrategy = Literal["rollback", "uninstall"]
ServerSideApplyMode = Literal["enabled", "disabled", "auto"]

_RETRY_SECONDS = 300.0

_Timeout = Annotated[
    Duration | None, doc("How long one operation of the action may take; spec.timeout by default.")
]
_DisableHooks = Annotated[bool, doc("Runs no hooks.")]
_DisableWait = Annotated[bool, doc("Does not wait for the objects to be ready.")]
_DisableWaitForJobs = Annotated[bool, doc("Does not wait for Jobs to complete.")]
_DisableOpenAPI = Annotated[bool, doc("Does not have the server refuse fields it does not know.")]
_DisableSchema = Annotated[bool, doc("Does not check the values against the chart's schema.")]
_DisableTakeOwnership = Annotated[
    bool, doc("Refuses objects that exist and do not belong to the release.")
]
_Crds = Annotated[
    CRDsPolicy | None,
    doc(
        "What is done with definitions in the chart's crds folder: nothing (Skip), create them"
        " (Create, the default), or also replace those that exist (CreateReplace)."
    ),
]
_IgnoreTestFailures = Annotated[
    bool | None, doc("Whether failed tests count as success; test.ignoreFailures by default.")
]
_Retries = Annotated[
    int, doc("How often it is tried again after a failure; without end where negative.")
]


class InstallStrategy(Model, kw_only=True, frozen=True):
    """What follows a failed install."""

    __cel__ = (
        CelRule(
            "!has(self.retryInterval) || self.name != 'RemediateOnFailure'",
            "retryInterval cannot be set where name is RemediateOnFailure",
        ),
    )

    name: Annotated[ActionStrategyName, doc("Undo and try again, or only try again.")]
    retry_interval: Annotated[
        Duration | None, doc("When RetryOnFailure tries again; 5m by default.")
    ] = None

    @property
    def retry_seconds(self) -> float:
        """Seconds until the next try."""
        return seconds(self.retry_interval, _RETRY_SECONDS)


class UpgradeStrategy(Model, kw_only=True, frozen=True):
    """What follows a failed upgrade."""

    __cel__ = (
        CelRule(
            "!has(self.retryInterval) || self.name == 'RetryOnFailure'",
            "retryInterval can only be set where name is RetryOnFailure",
        ),
    )

    name: Annotated[ActionStrategyName, doc("Undo and try again, or only try again.")]
    retry_interval: Annotated[
        Duration | None, doc("When RetryOnFailure tries again; 5m by default.")
    ] = None

    @property
    def retry_seconds(self) -> float:
        """Seconds until the next try."""
        return seconds(self.retry_interval, _RETRY_SECONDS)


class InstallRemediation(Model, kw_only=True, frozen=True):
    """How a failed install is undone: by uninstalling, before each retry."""

    ignore_test_failures: _IgnoreTestFailures = None
    remediate_last_failure: Annotated[
        bool | None, doc("Whether the last failure is undone too; false by default.")
    ] = None
    retries: _Retries = 0

    @property
    def remediates_last_failure(self) -> bool:
        """Whether the failure after which no retry remains is undone."""
        return bool(self.remediate_last_failure)


class UpgradeRemediation(Model, kw_only=True, frozen=True):
    """How a failed upgrade is undone, before each retry."""

    ignore_test_failures: _IgnoreTestFailures = None
    remediate_last_failure: Annotated[
        bool | None,
        doc("Whether the last failure is undone too; true by default where there are retries."),
    ] = None
    retries: _Retries = 0
    strategy: Annotated[
        RemediationStrategy | None, doc("Roll back (the default), or uninstall.")
    ] = None

    @property
    def remediates_last_failure(self) -> bool:
        """Whether the failure after which no retry remains is undone."""
        return (
            self.retries > 0 if self.remediate_last_failure is None else self.remediate_last_failure
        )


class Install(Model, kw_only=True, frozen=True):
    """How the release is installed."""

    crds: _Crds = None
    create_namespace: Annotated[
        bool, doc("Creates targetNamespace if it is missing; it is never deleted.")
    ] = False
    disable_hooks: _DisableHooks = False
    disable_open_api_validation: _DisableOpenAPI = field(
        default=False, name="disableOpenAPIValidation"
    )
    disable_schema_validation: _DisableSchema = False
    disable_take_ownership: _DisableTakeOwnership = False
    disable_wait: _DisableWait = False
    disable_wait_for_jobs: _DisableWaitForJobs = False
    remediation: Annotated[
        InstallRemediation | None, doc("How a failed install is undone; not at all by default.")
    ] = None
    replace: Annotated[
        bool, doc("Uses the name again if it is that of an uninstalled or failed release.")
    ] = False
    server_side_apply: Annotated[
        bool | None, doc("Whether objects are applied by the server; true by default.")
    ] = None
    skip_crds: Annotated[bool, doc("Without effect; use crds.")] = field(
        default=False, name="skipCRDs"
    )
    strategy: Annotated[
        InstallStrategy | None, doc("What follows a failure; RemediateOnFailure by default.")
    ] = None
    timeout: _Timeout = None


class Upgrade(Model, kw_only=True, frozen=True):
    """How the release is upgraded."""

    chart_name_change_strategy: Annotated[
        Literal["InPlaceUpdate", "Reinstall"] | None,
        doc(
            "What happens when the chart's name changes: the release is uninstalled and installed"
            " (Reinstall, the default), or upgraded (InPlaceUpdate)."
        ),
    ] = None
    cleanup_on_fail: Annotated[
        bool, doc("Deletes the objects that a failed upgrade has created.")
    ] = False
    crds: _Crds = None
    disable_hooks: _DisableHooks = False
    disable_open_api_validation: _DisableOpenAPI = field(
        default=False, name="disableOpenAPIValidation"
    )
    disable_schema_validation: _DisableSchema = False
    disable_take_ownership: _DisableTakeOwnership = False
    disable_wait: _DisableWait = False
    disable_wait_for_jobs: _DisableWaitForJobs = False
    force: Annotated[
        bool, doc("Replaces objects instead of merging, where the server does not apply them.")
    ] = False
    preserve_values: Annotated[
        bool, doc("Lays the values over those of the last release instead of over the chart's.")
    ] = False
    remediation: Annotated[
        UpgradeRemediation | None, doc("How a failed upgrade is undone; not at all by default.")
    ] = None
    server_side_apply: Annotated[
        ServerSideApplyMode | None,
        doc("Whether objects are applied by the server; as the last release was by default."),
    ] = None
    strategy: Annotated[
        UpgradeStrategy | None, doc("What follows a failure; RemediateOnFailure by default.")
    ] = None
    timeout: _Timeout = None


class TestFilter(Model, kw_only=True, frozen=True):
    """One test that is run, or left out."""

    exclude: Annotated[bool, doc("Leaves the test out.")] = False
    name: Annotated[str, Meta(min_length=1, max_length=253), doc("Name of the test.")]


class Test(Model, kw_only=True, frozen=True):
    """Whether and how the chart's tests are run after an install or upgrade."""

    enable: Annotated[bool, doc("Runs the tests.")] = False
    filters: Annotated[
        tuple[TestFilter, ...], doc("The tests that are run, or left out; all run by default.")
    ] = ()
    ignore_failures: Annotated[bool, doc("Failed tests count as success.")] = False
    timeout: _Timeout = None


class Rollback(Model, kw_only=True, frozen=True):
    """How the release is rolled back."""

    cleanup_on_fail: Annotated[
        bool, doc("Deletes the objects that a failed rollback has created.")
    ] = False
    disable_hooks: _DisableHooks = False
    disable_wait: _DisableWait = False
    disable_wait_for_jobs: _DisableWaitForJobs = False
    force: Annotated[
        bool, doc("Replaces objects instead of merging, where the server does not apply them.")
    ] = False
    recreate: Annotated[bool, doc("Without effect; Helm no longer restarts pods.")] = False
    server_side_apply: Annotated[
        ServerSideApplyMode | None,
        doc("Whether objects are applied by the server; as the target was by default."),
    ] = None
    timeout: _Timeout = None


class Uninstall(Model, kw_only=True, frozen=True):
    """How the release is uninstalled."""

    deletion_propagation: Annotated[
        Propagation | None,
        doc("How dependents of deleted objects are treated."),
        server_default("background"),
    ] = None
    disable_hooks: _DisableHooks = False
    disable_wait: Annotated[bool, doc("Does not wait for the objects to be gone.")] = False
    keep_history: Annotated[bool, doc("Keeps the release's records, marked as uninstalled.")] = (
        False
    )
    timeout: _Timeout = None

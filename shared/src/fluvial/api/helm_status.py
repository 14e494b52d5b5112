"""What is known of a HelmRelease: its status, and the snapshots of the releases it made."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from fluvial.api.meta import Condition, Model, MutableModel, Time, doc, schema_only

__all__ = [
    "SNAPSHOT_API_VERSION",
    "HelmReleaseStatus",
    "ReleaseAction",
    "ReleaseInventory",
    "ReleaseResourceRef",
    "Snapshot",
    "TestHookStatus",
]

SNAPSHOT_API_VERSION = "v2"
"""Marks a snapshot whose digest is made as Helm 4's records have it."""

ReleaseAction = Literal["install", "upgrade", "rollback", "uninstall", "uninstall-remediation"]


class TestHookStatus(Model, kw_only=True, frozen=True):
    """How a test went."""

    last_completed: Annotated[Time | None, doc("When it was last done.")] = None
    last_started: Annotated[Time | None, doc("When it was last started.")] = None
    phase: Annotated[str, doc("Unknown, Running, Succeeded or Failed.")] = ""


class Snapshot(Model, kw_only=True, frozen=True):
    """One release as it was written to Helm's storage."""

    action: Annotated[str, doc("The action that wrote it.")] = ""
    api_version: Annotated[str, doc("How the digest is made.")] = ""
    app_version: Annotated[str, doc("Version of the application in the chart.")] = ""
    chart_name: Annotated[str, doc("Name of the chart.")]
    chart_version: Annotated[str, doc("Version of the chart.")]
    config_digest: Annotated[str, doc("Checksum of the values, as algorithm:hex.")]
    deleted: Annotated[Time | None, doc("When it was uninstalled.")] = None
    digest: Annotated[str, doc("Checksum of the stored release, as algorithm:hex.")]
    first_deployed: Annotated[Time, doc("When a release of this name was first deployed.")]
    last_deployed: Annotated[Time, doc("When this release was deployed.")]
    name: Annotated[str, doc("Name of the release.")]
    namespace: Annotated[str, doc("Namespace of the release.")]
    oci_digest: Annotated[str, doc("Digest of the chart's OCI artifact.")] = field(
        default="", name="ociDigest"
    )
    status: Annotated[str, doc("State of the release, in Helm's words.")]
    test_hooks: Annotated[
        dict[str, TestHookStatus] | None, doc("The chart's tests that were run, by name.")
    ] = None
    version: Annotated[int, doc("Revision of the release.")]


class ReleaseResourceRef(Model, kw_only=True, frozen=True):
    """One object of a release."""

    id: Annotated[str, doc("The object as <namespace>_<name>_<group>_<kind>.")]
    v: Annotated[str, doc("Its API version, without the group.")]


class ReleaseInventory(Model, kw_only=True, frozen=True):
    """All objects of a release, for information."""

    entries: Annotated[tuple[ReleaseResourceRef, ...], doc("The objects.")]


class HelmReleaseStatus(MutableModel, kw_only=True):
    """What was released last, and how that went."""

    conditions: Annotated[list[Condition], doc("State of the object, aspect by aspect.")] = field(
        default_factory=list
    )
    failures: Annotated[
        int, doc("Failures since the desired state changed."), schema_only(format="int64")
    ] = 0
    helm_chart: Annotated[str, doc("The HelmChart made for it, as <namespace>/<name>.")] = ""
    history: Annotated[list[Snapshot], doc("The releases down to the last one that went well.")] = (
        field(default_factory=list)
    )
    install_failures: Annotated[
        int, doc("Failed installs since the desired state changed."), schema_only(format="int64")
    ] = 0
    inventory: Annotated[ReleaseInventory | None, doc("The objects of the release.")] = None
    last_attempted_config_digest: Annotated[str, doc("Checksum of the values last tried.")] = ""
    last_attempted_generation: Annotated[
        int, doc("The generation last tried."), schema_only(format="int64")
    ] = 0
    last_attempted_release_action: Annotated[
        str,
        doc("The release action last tried, which decides how failures are treated."),
        schema_only(enum=["install", "upgrade"]),
    ] = ""
    last_attempted_release_action_duration: Annotated[
        str | None, doc("How long that action took.")
    ] = None
    last_attempted_revision: Annotated[str, doc("Version of the chart last tried.")] = ""
    last_attempted_revision_digest: Annotated[
        str, doc("Digest of the chart's OCI artifact last tried.")
    ] = ""
    last_attempted_values_checksum: Annotated[str, doc("No longer written.")] = ""
    last_handled_force_at: Annotated[
        str, doc("Token of the last request for a release by force that was acted on.")
    ] = ""
    last_handled_reconcile_at: Annotated[
        str, doc("Token of the last reconcile request that was acted on.")
    ] = ""
    last_handled_reset_at: Annotated[
        str, doc("Token of the last request to forget failures that was acted on.")
    ] = ""
    last_release_revision: Annotated[int, doc("No longer written.")] = 0
    observed_common_metadata_digest: Annotated[
        str, doc("Checksum of the common metadata that was last released.")
    ] = ""
    observed_generation: Annotated[
        int, doc("The last generation that was reconciled."), schema_only(format="int64")
    ] = 0
    observed_post_renderers_digest: Annotated[
        str, doc("Checksum of the post-renderers that were last used.")
    ] = ""
    storage_namespace: Annotated[
        str,
        doc("Namespace of the release's records."),
        schema_only(minLength=1, maxLength=63),
    ] = ""
    upgrade_failures: Annotated[
        int, doc("Failed upgrades since the desired state changed."), schema_only(format="int64")
    ] = 0

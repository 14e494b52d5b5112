"""From an object, its newest record and what is wanted to the facts that decide.

Also what of a spec's change begins anew: failures are forgotten, or a release moves elsewhere.
Functions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from fluvial.api.helm import HelmRelease
from fluvial.api.helm_actions import Upgrade
from fluvial.helm.digests import (
    common_metadata_digest,
    config_matches,
    post_renderers_digest,
)
from fluvial.helm.ending import is_unlocked
from fluvial.helm.facts import Attempts, Drift, Facts, Kind, Target
from fluvial.helm.history import Verification, newest_first, verify
from fluvial.helm.release import Release

__all__ = [
    "FORCE_REQUEST",
    "RESET_REQUEST",
    "Wanted",
    "attempts_of",
    "is_requested",
    "moved_from",
    "observe",
    "reset_reason",
]

FORCE_REQUEST: Final = "reconcile.fluxcd.io/forceAt"
RESET_REQUEST: Final = "reconcile.fluxcd.io/resetAt"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be released.

    Attributes:
        chart_name: of the chart.
        chart_version: with the artifact's digest, where it is tracked.
        values: composed.
        config_digest: of these values, so that it is not made again; ``""`` if it is not known.

    """

    chart_name: str
    chart_version: str
    values: dict[str, Any]
    config_digest: str = ""

    def has_digest(self, digest: str) -> bool:
        """Whether a digest, of whichever algorithm, is that of the values."""
        return config_matches(digest, self.values, known=self.config_digest)


def observe(
    release: HelmRelease,
    last: Release | None,
    wanted: Wanted,
    *,
    drift: Drift = Drift.NOT_COMPARED,
    target: Target = Target.NOT_CHECKED,
) -> Facts:
    """The facts about an object.

    Args:
        release: the object with its status.
        last: the newest record.
        wanted: what is to be released.
        drift: what comparing with the cluster has shown.
        target: what looking at the revision to roll back to has shown.

    """
    history = newest_first(release.status.history)
    if last is None:
        return Facts(None, history, drift=drift, target=target)
    unobserved = ""
    if history and (found := verify(history[0], last)) is not Verification.SAME:
        unobserved = found.value
    return Facts(
        last.status,
        history,
        unobserved,
        _difference(release, last, wanted),
        drift=drift,
        target=target,
        cut_off=is_unlocked(last),
    )


def _difference(release: HelmRelease, last: Release, wanted: Wanted) -> str:
    """Why what is released is not what is wanted, ``""`` if it is."""
    chart = (last.metadata.name, last.metadata.version)
    if chart != (wanted.chart_name, wanted.chart_version):
        return "release chart changed"
    history = newest_first(release.status.history)
    if not history or not wanted.has_digest(history[0].config_digest):
        return "release config values changed"
    status = release.status
    undone = any(one.type == "Remediated" for one in status.conditions)
    if status.observed_generation == release.metadata.generation and not undone:
        return ""
    if post_renderers_digest(release.spec.post_renderers) != status.observed_post_renderers_digest:
        return "postrenderers digest has changed"
    common = common_metadata_digest(release.spec.common_metadata)
    if common != status.observed_common_metadata_digest:
        return "common metadata digest has changed"
    return ""


def attempts_of(
    release: HelmRelease, *, forced: bool, done: frozenset[Kind] = frozenset()
) -> Attempts:
    """What the status says was tried.

    Args:
        release: the object with its status.
        forced: whether a release by force is asked for; ``is_requested``.
        done: the kinds of actions that were done in this round.

    """
    status = release.status
    actions: dict[str, Literal["install", "upgrade"]] = {"install": "install", "upgrade": "upgrade"}
    return Attempts(
        actions.get(status.last_attempted_release_action, ""),
        install_failures=status.install_failures,
        upgrade_failures=status.upgrade_failures,
        forced=forced,
        done=done,
    )


def is_requested(release: HelmRelease, annotation: str, *, handled: str) -> bool:
    """Whether a one-shot request is to be acted on now.

    Args:
        release: the object with its status.
        annotation: ``FORCE_REQUEST`` or ``RESET_REQUEST``; its token has to be that of the
            request to reconcile that comes with it.
        handled: the token that the status says was handled last, of this kind of request.

    """
    token = release.metadata.annotations.get(annotation, "")
    reconcile = release.metadata.reconcile_request
    if not token or token != reconcile:
        return False
    return token not in {handled, release.status.last_handled_reconcile_at}


def reset_reason(release: HelmRelease, wanted: Wanted) -> str:
    """Why failures are to be forgotten, ``""`` if they are not."""
    status = release.status
    if status.last_attempted_generation != release.metadata.generation:
        return "generation differs from last attempt"
    if status.last_attempted_revision != wanted.chart_version:
        return "chart version differs from last attempt"
    digest = status.last_attempted_config_digest
    if not digest and status.last_attempted_values_checksum:
        digest = f"sha1:{status.last_attempted_values_checksum}"
    if digest and not wanted.has_digest(digest):
        return "values differ from last attempt"
    if is_requested(release, RESET_REQUEST, handled=status.last_handled_reset_at):
        return "reset was requested"
    return ""


def moved_from(release: HelmRelease, chart_name: str) -> str:
    """What has changed so that the old release must be uninstalled first, ``""`` if nothing.

    Args:
        release: the object with its status.
        chart_name: of the chart that is wanted.

    """
    history = newest_first(release.status.history)
    storage = release.status.storage_namespace
    if not history or not storage:
        return ""
    newest = history[0]
    in_place = (release.spec.upgrade or Upgrade()).chart_name_change_strategy == "InPlaceUpdate"
    changes = (
        ("storage namespace", release.storage_namespace, storage),
        ("release namespace", release.release_namespace, newest.namespace),
        ("release name", release.release_name, newest.name),
        ("chart name", newest.chart_name if in_place else chart_name, newest.chart_name),
    )
    return next((what for what, now, before in changes if now != before), "")

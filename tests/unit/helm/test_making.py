"""New revisions, and what the spec says of actions."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fluvial.api.codec import decode
from fluvial.api.helm import HelmRelease
from fluvial.build.helm.model import RenderedRelease
from fluvial.helm import options
from fluvial.helm.errors import ManifestError
from fluvial.helm.history import Verification, snapshot_of, verify
from fluvial.helm.making import changes_nothing, new_release, rolled_back
from fluvial.helm.record import decode_release, encode_release
from fluvial.helm.release import Hook, HookRun, Release, Status

_NOW = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
_CHART = {
    "metadata": {"name": "chart", "version": "1.2.3", "apiVersion": "v2", "keywords": None},
    "lock": None,
    "templates": [{"name": "templates/a.yaml", "data": base64.b64encode(b"<x>").decode()}],
    "values": {"a": "<&>"},
}
_FILES = {
    "chart/templates/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
    "chart/templates/h.yaml": (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: h, annotations: {helm.sh/hook: test}}\n"
    ),
}


def _rendered(**fields: Any) -> RenderedRelease:
    given: dict[str, Any] = {
        "files": _FILES,
        "notes": "hello",
        "crds": (),
        "chart": _CHART,
        "config": {"b": 1},
    }
    return RenderedRelease(**(given | fields))


async def _make(
    version: int = 1, before: Release | None = None, *, server_side: bool = True, **fields: Any
) -> Release:
    return await new_release(
        _rendered(**fields),
        name="app",
        namespace="apps",
        version=version,
        now=_NOW,
        before=before,
        server_side=server_side,
    )


async def test_a_new_release_is_what_was_rendered() -> None:
    release = await _make()

    assert release.status is Status.PENDING_INSTALL
    assert release.info.first_deployed == release.info.last_deployed == "2026-01-02T03:04:05.6Z"
    assert release.info.notes == "hello"
    assert release.metadata.name == "chart"
    assert release.manifest.startswith("---\n# Source: chart/templates/a.yaml\napiVersion")
    assert [hook.events for hook in release.hooks] == [("test",)]
    assert release.server_side


async def test_what_is_stored_of_it_is_still_it() -> None:
    release = await _make()
    again = decode_release(encode_release(release))

    assert verify(snapshot_of(release), again) is Verification.SAME
    assert msgspec.structs.replace(again, chart=release.chart) == release


async def test_an_upgrade_is_as_old_as_the_first_install() -> None:
    first = msgspec.structs.replace(await _make(), labels={"team": "a"})
    second = await _make(2, first)

    assert second.status is Status.PENDING_UPGRADE
    assert second.info.first_deployed == first.info.first_deployed
    assert second.labels == {"team": "a"}


async def test_what_is_no_manifest_is_no_release() -> None:
    with pytest.raises(ManifestError):
        await _make(files={"a.yaml": "a: ["})


async def test_a_rollback_has_what_the_old_revision_had() -> None:
    first, last = await _make(), await _make(5, config={"b": 2})
    release = rolled_back(first, last=last, now=_NOW)

    assert (release.version, release.config, release.manifest) == (6, {"b": 1}, first.manifest)
    assert release.info.description == "Rollback to 1"
    assert release.status is Status.PENDING_ROLLBACK


_RUN = HookRun(started_at="2026-01-01T00:00:00Z", phase="Succeeded")


@pytest.mark.parametrize(
    ("fields", "nothing"),
    [
        ({}, True),
        ({"notes": "other"}, True),
        ({"config": {"b": 1.0}}, True),
        ({"config": {"b": 2}}, False),
        ({"files": {}}, False),
        ({"chart": {"metadata": {"name": "chart", "version": "1.2.4"}}}, False),
    ],
)
async def test_an_upgrade_that_changes_nothing_is_known(
    fields: dict[str, Any],
    nothing: bool,  # noqa: FBT001 - a table
) -> None:
    before = await _make()
    ran = tuple(msgspec.structs.replace(hook, last_run=_RUN) for hook in before.hooks)
    before = msgspec.structs.replace(before, hooks=ran)

    assert await changes_nothing(before, await _make(2, before, **fields)) is nothing


async def test_other_hooks_are_a_change() -> None:
    before = await _make()
    other = msgspec.structs.replace(before, hooks=(Hook(name="x"),))

    assert not await changes_nothing(before, other)


_ORIGIN = {"helm.toolkit.fluxcd.io/name": "app", "helm.toolkit.fluxcd.io/namespace": "apps"}


async def test_labels_that_tell_who_releases_are_no_change() -> None:
    before = await _make()
    marks = ", ".join(f"{key}: {text}" for key, text in _ORIGIN.items())
    marked = {
        path: text.replace("metadata: {", f"metadata: {{labels: {{{marks}}}, ")
        for path, text in _FILES.items()
    }
    after = await _make(2, before, files=marked)

    assert await changes_nothing(before, after, origin=_ORIGIN)
    assert not await changes_nothing(before, after)
    assert not await changes_nothing(before, after, origin={**_ORIGIN, next(iter(_ORIGIN)): "x"})


@pytest.mark.parametrize(
    ("mode", "method", "by_server"),
    [
        ("auto", "ssa", True),
        ("auto", "csa", False),
        ("auto", "", False),
        ("auto", None, True),
        ("enabled", "csa", True),
        ("disabled", "ssa", False),
        ("disabled", None, False),
    ],
)
async def test_who_applies_is_asked_for_or_as_before(
    mode: Any,
    method: str | None,
    by_server: bool,  # noqa: FBT001 - a table
) -> None:
    given = options.ApplyOptions(server_side=mode)
    previous = None
    if method is not None:
        previous = msgspec.structs.replace(await _make(), apply_method=method)

    assert given.by_server(previous) is by_server


async def test_a_revision_says_who_applies_it() -> None:
    by_client = await _make(server_side=False)
    back = rolled_back(by_client, last=by_client, now=_NOW)
    back_by_client = rolled_back(await _make(), last=by_client, now=_NOW, server_side=False)

    assert by_client.apply_method == back_by_client.apply_method == "csa"
    assert back.apply_method == "ssa"
    assert decode_release(encode_release(by_client)).apply_method == "csa"


def _release(**spec: Any) -> HelmRelease:
    return decode({"metadata": {}, "spec": {"interval": "5m", **spec}}, HelmRelease)


def test_options_have_the_defaults_of_flux() -> None:
    release = _release()

    assert options.ApplyOptions.of_install(release) == options.ApplyOptions(
        server_side="enabled", history_limit=0
    )
    assert options.ApplyOptions.of_upgrade(release) == options.ApplyOptions()
    assert options.ApplyOptions.of_rollback(release) == options.ApplyOptions(strict=False)
    assert options.UninstallOptions.of(release) == options.UninstallOptions()
    assert options.TestOptions.of(release) == options.TestOptions()


def test_options_are_read_off_the_spec() -> None:
    release = _release(
        timeout="1m",
        maxHistory=3,
        targetNamespace="web",
        install={
            "timeout": "2m",
            "disableHooks": True,
            "disableWait": True,
            "disableWaitForJobs": True,
            "disableTakeOwnership": True,
            "disableOpenAPIValidation": True,
            "createNamespace": True,
            "replace": True,
            "serverSideApply": False,
        },
        upgrade={"cleanupOnFail": True, "disableTakeOwnership": True, "force": True},
        rollback={"disableHooks": True, "serverSideApply": "disabled"},
        uninstall={"keepHistory": True, "deletionPropagation": "orphan", "disableWait": True},
        test={"timeout": "3s", "filters": [{"name": "a"}]},
    )

    assert options.ApplyOptions.of_install(release) == options.ApplyOptions(
        timeout=120.0,
        hooks=False,
        wait=False,
        wait_for_jobs=False,
        strict=False,
        take_ownership=False,
        create_namespace=True,
        server_side="disabled",
        replace=True,
        history_limit=0,
    )
    assert options.ApplyOptions.of_upgrade(release) == options.ApplyOptions(
        timeout=60.0, take_ownership=False, cleanup_on_fail=True, force=True, history_limit=3
    )
    assert options.ApplyOptions.of_rollback(release) == options.ApplyOptions(
        timeout=60.0, hooks=False, strict=False, server_side="disabled", history_limit=3
    )
    assert options.UninstallOptions.of(release) == options.UninstallOptions(
        timeout=60.0, wait=False, keep_history=True, propagation="Orphan"
    )
    assert options.TestOptions.of(release).timeout == 3.0
    assert [one.name for one in options.TestOptions.of(release).filters] == ["a"]


def test_a_namespace_is_made_only_for_a_target() -> None:
    release = _release(install={"createNamespace": True})

    assert not options.ApplyOptions.of_install(release).create_namespace


@pytest.mark.parametrize(
    ("spec", "legacy"),
    [
        ({}, False),
        ({"waitStrategy": {"name": "poller"}}, False),
        ({"waitStrategy": {"name": "legacy"}}, True),
    ],
)
def test_the_way_of_waiting_is_that_of_every_action(spec: dict[str, Any], *, legacy: bool) -> None:
    release = _release(**spec)

    assert options.ApplyOptions.of_install(release).legacy_wait is legacy
    assert options.ApplyOptions.of_upgrade(release).legacy_wait is legacy
    assert options.ApplyOptions.of_rollback(release).legacy_wait is legacy

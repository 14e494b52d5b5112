"""Choices that a HelmRelease leaves open are made as Helm 3 made them, and no others."""

from __future__ import annotations

from typing import Any

from fluvial.api.codec import decode, encode
from fluvial.api.helm import HelmRelease
from fluvial.build.helm.model import PostRendering
from fluvial.helm.helm3 import with_helm3_defaults
from fluvial.helm.options import ApplyOptions
from fluvial.objects import ObjectKey

_OWNER = ObjectKey("apps", "app")


def _release(**spec: Any) -> HelmRelease:
    chart = {"kind": "OCIRepository", "name": "chart"}
    return decode(
        {
            "apiVersion": "helm.toolkit.fluxcd.io/v2",
            "kind": "HelmRelease",
            "metadata": {"namespace": "apps", "name": "app", "uid": "u", "generation": 3},
            "spec": {"interval": "1h", "chartRef": chart, **spec},
            "status": {"failures": 2},
        },
        HelmRelease,
    )


def test_what_is_left_open_is_as_in_helm_3() -> None:
    given = _release(install={"timeout": "7s"}, values={"a": 1})
    found = with_helm3_defaults(given)
    install, upgrade = ApplyOptions.of_install(found), ApplyOptions.of_upgrade(found)

    assert not install.by_server(None)
    assert (install.legacy_wait, upgrade.legacy_wait) == (True, True)
    assert ApplyOptions.of_rollback(found).legacy_wait
    assert upgrade.server_side == ApplyOptions.of_rollback(found).server_side == "auto"
    assert PostRendering.of(found.spec, owner=_OWNER).strategy == "nohooks"
    assert install.timeout == 7.0
    assert found.spec.values == given.spec.values
    assert found.status is given.status


def test_what_is_said_is_done() -> None:
    given = _release(
        install={"serverSideApply": True},
        waitStrategy={"name": "poller"},
        postRenderStrategy="combined",
    )

    assert encode(with_helm3_defaults(given)) == encode(given)


def test_without_the_gate_it_is_as_in_helm_4() -> None:
    given = _release()

    assert ApplyOptions.of_install(given).by_server(None)
    assert not ApplyOptions.of_install(given).legacy_wait
    assert PostRendering.of(given.spec, owner=_OWNER).strategy == "combined"

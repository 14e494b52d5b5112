"""What a HelmRelease means that leaves a choice open, where Helm 3's choices are the defaults.

Flux's gate UseHelm3Defaults: who comes from a version before 2.8 keeps what it did.
"""

from __future__ import annotations

import msgspec

from fluvial.api.helm import HelmRelease, WaitStrategy
from fluvial.api.helm_actions import Install

__all__ = ["with_helm3_defaults"]


def with_helm3_defaults(release: HelmRelease) -> HelmRelease:
    """The object with every choice that it leaves open made as Helm 3 made it.

    Installs are applied by the client, objects are waited for as in ``helm.legacy``, and
    post-renderers get no hooks. Upgrades and rollbacks go on as the last release was made.
    """
    spec = release.spec
    install = spec.install or Install()
    if install.server_side_apply is None:
        install = msgspec.structs.replace(install, server_side_apply=False)
    spec = msgspec.structs.replace(
        spec,
        install=install,
        wait_strategy=spec.wait_strategy or WaitStrategy(name="legacy"),
        post_render_strategy=spec.post_render_strategy or "nohooks",
    )
    return msgspec.structs.replace(release, spec=spec)

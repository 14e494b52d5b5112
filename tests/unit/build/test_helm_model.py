"""What a HelmRelease asks for in post-rendering."""

from __future__ import annotations

from fluvial.api.helm import HelmReleaseSpec, Kustomize, PostRenderer
from fluvial.api.kustomize import CommonMetadata, Image
from fluvial.build.helm.model import (
    CustomResource,
    LastValues,
    PostRendering,
    RenderedRelease,
    RenderSpec,
)
from fluvial.kube.capabilities import Capabilities
from fluvial.objects import ObjectKey

OWNER = ObjectKey("apps", "web")
ORIGIN = {
    "helm.toolkit.fluxcd.io/name": "web",
    "helm.toolkit.fluxcd.io/namespace": "apps",
}


def test_without_wishes_there_are_the_owner_s_labels() -> None:
    assert PostRendering.of(HelmReleaseSpec(interval="1h"), owner=OWNER) == PostRendering(
        labels=ORIGIN
    )


def test_every_wish_counts_and_the_owner_wins() -> None:
    newer = Kustomize(images=(Image(name="nginx", new_tag="2"),))
    spec = HelmReleaseSpec(
        interval="1h",
        post_renderers=(PostRenderer(kustomize=newer), PostRenderer()),
        post_render_strategy="nohooks",
        common_metadata=CommonMetadata(
            labels={"a": "b", "helm.toolkit.fluxcd.io/name": "forged"}, annotations={"c": "d"}
        ),
    )

    assert PostRendering.of(spec, owner=OWNER) == PostRendering(
        kustomize=(newer,), labels={"a": "b", **ORIGIN}, annotations={"c": "d"}, strategy="nohooks"
    )


def test_what_is_printed_of_values_tells_none() -> None:
    secret = {"password": "correct-horse"}
    rendered = RenderedRelease(
        files={"a": "correct-horse"},
        notes="correct-horse",
        crds=(CustomResource("a", "b", "correct-horse"),),
        chart=secret,
        config=secret,
    )
    last = LastValues(chart=secret, config=secret)
    spec = RenderSpec("a", "b", Capabilities.of_version("v1.33.4"), last=last)

    assert "correct-horse" not in repr((rendered, spec))

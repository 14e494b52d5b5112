"""Nothing that an object asks for is ignored."""

from __future__ import annotations

import pytest

from fluvial.delivery.unsupported import refuse_unsupported
from fluvial.runtime.outcome import Stalled
from unit.delivery.cluster import kustomization

FIELDS, ANNOTATIONS = ("spec.decryption", "spec.dependsOn[].readyExpr"), ("x/drift", "x/apply")


@pytest.mark.parametrize(
    ("spec", "annotations", "named"),
    [
        ({"decryption": {"provider": "sops"}}, {}, "spec.decryption;"),
        ({}, {"x/apply": ""}, "annotation x/apply;"),
        (
            {"dependsOn": [{"name": "a"}, {"name": "b", "readyExpr": "true"}]},
            {"x/drift": "off"},
            "spec.dependsOn[].readyExpr, annotation x/drift;",
        ),
    ],
    ids=["a field", "an annotation without a value", "both"],
)
def test_everything_that_is_not_done_is_named(
    spec: dict[str, object], annotations: dict[str, str], named: str
) -> None:
    obj = kustomization(annotations=annotations)
    obj["spec"] |= spec
    with pytest.raises(Stalled) as stalled:
        refuse_unsupported(obj, fields=FIELDS, annotations=ANNOTATIONS)

    assert stalled.value.reason == "UnsupportedField"
    assert named in str(stalled.value)


@pytest.mark.parametrize("annotations", [{}, {"x/other": "apply"}, None])
def test_an_object_without_any_of_it_is_taken(annotations: dict[str, str] | None) -> None:
    refuse_unsupported(
        kustomization(annotations=annotations), fields=FIELDS, annotations=ANNOTATIONS
    )

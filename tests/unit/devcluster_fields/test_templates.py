"""A pod template without fault is remembered; one with a fault is refused each time."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.fields.builtin import pods
from devcluster.fields.builtin.checker import Checker


def _template(image: str | None = "i:1", **container: Any) -> dict[str, Any]:
    one = {"name": "c", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}
    image_field = {} if image is None else {"image": image}
    spec = {
        "containers": [{**one, **image_field, **container}],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
    }
    return {"metadata": {"labels": {"a": "b"}}, "spec": spec}


def _faults(template: dict[str, Any]) -> list[str]:
    checker = Checker()
    pods.check_template(checker, template, "spec.template")
    return [cause.field for cause in checker.causes]


@pytest.mark.parametrize(
    ("template", "field"),
    [
        (_template(None), "spec.template.spec.containers[0].image"),
        (_template(""), "spec.template.spec.containers[0].image"),
        (_template(name="C"), "spec.template.spec.containers[0].name"),
        (_template(env=[{"name": "="}]), "spec.template.spec.containers[0].env[0].name"),
    ],
    ids=["no image", "empty image", "name", "environment"],
)
def test_fault_is_found_after_the_same_template_without_it(
    template: dict[str, Any], field: str
) -> None:
    assert _faults(_template()) == []
    assert _faults(template) == [field]
    assert _faults(template) == [field]


def test_template_with_another_image_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _faults(_template("i:1")) == []
    monkeypatch.setattr(pods, "_check_template", None)

    assert _faults(_template("i:2")) == []

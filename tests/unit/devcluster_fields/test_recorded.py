"""What the real server answered to the same requests (``record_answers.py``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devcluster.fields import admit
from devcluster.fields.errors import FieldsError
from devcluster.fields.managed import track_update
from devcluster.fields.patches import merge_patch
from devcluster.fields.schema import SchemaSet, TypeSchema

Json = dict[str, Any]

RECORDED = Path(__file__).parent / "recorded"
UID = "UID"

# Refusals that are not the real server's, and why.
DEVIATIONS = {
    "Deployment-94": "allow-privileged is a flag of the real server",
    "Deployment-99": "resizePolicy is not validated",
    "Job-9": "a selector given by hand is checked where selectors are generated",
    "Job-12": "podFailurePolicy is not validated",
    "Ingress-2": "an empty list is dropped while decoding, as on the way back",
    "CustomResourceDefinition-5": "an empty list is dropped while decoding",
    "CustomResourceDefinition-30": "the legacy fields are not reported twice",
}


def load(name: str) -> list[Any]:
    cases = json.loads((RECORDED / name).read_text())
    return [pytest.param(case, id=case["id"]) for case in cases]


def schema_of(obj: Json) -> TypeSchema:
    group, _, version = obj["apiVersion"].rpartition("/")
    schema = SchemaSet.builtin().for_kind(group, version, obj["kind"])
    assert schema is not None
    return schema


def created(request: Json, namespace: str) -> Json:
    """The object as a create would store it, addresses apart."""
    schema = schema_of(request)
    obj, _ = admit.decode_checks(request, schema, "Warn", json.dumps(request).encode())
    obj["metadata"]["uid"] = UID
    if namespace:
        obj["metadata"]["namespace"] = namespace
    obj = admit.default(obj, schema)
    obj = track_update(
        None,
        obj,
        schema=schema,
        manager="m",
        api_version=request["apiVersion"],
        subresource="",
        now="2026-01-01T00:00:00Z",
    )
    obj = admit.default(obj, schema)
    admit.prepare_create(obj, schema)
    admit.validate_create(obj, schema)
    return obj


def namespace_of(case: Json) -> str:
    return "default" if "/namespaces/" in case["path"] else ""


# Added by admission plugins and allocators, which belong to the server.
OF_THE_SERVER: dict[str, tuple[str, ...]] = {
    "Service": ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"),
    "Pod": ("priority", "preemptionPolicy", "tolerations"),
    "Node": ("taints",),
    "Namespace": ("finalizers",),
}


def comparable(obj: Json) -> Json:
    out: Json = json.loads(json.dumps(obj))
    for key in ("uid", "managedFields"):
        out["metadata"].pop(key, None)
    for key in OF_THE_SERVER.get(obj["kind"], ()):
        out.get("spec", {}).pop(key, None)
    if obj["kind"] == "Job":
        # The generated labels reach the job through the template that it shares in memory.
        out["metadata"].pop("labels", None)
    if obj["kind"] == "DaemonSet":
        out["metadata"].pop("annotations", None)
    return out


@pytest.mark.parametrize("case", load("created.json"))
def test_a_new_object_has_the_real_servers_defaults(case: Json) -> None:
    obj = created(case["request"], namespace_of(case))

    assert comparable(obj) == comparable(case["answer"]["object"])


@pytest.mark.parametrize("case", load("created.json"))
def test_a_new_objects_fields_are_owned_as_the_real_server_owns_them(case: Json) -> None:
    obj = created(case["request"], namespace_of(case))
    fields = [entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", [])]

    if case["id"] in {"DaemonSet-1", "Role-2"}:
        # The legacy generation annotation; an empty list that is null when it is read back.
        assert fields != case["answer"]["fields"]
        return
    assert fields == case["answer"]["fields"]


def changed(case: Json) -> Json:
    """What came of the patch: a status, and the causes up to their first line."""
    live = created(case["request"], namespace_of(case))
    if live["kind"] == "Service":
        live["spec"].update(clusterIP="10.0.0.9", clusterIPs=["10.0.0.9"])
    schema = schema_of(live)
    try:
        new = merge_patch(live, case["patch"])
        new, _ = admit.decode_checks(new, schema, "Warn", b"", patched=True)
        admit.validate_update(admit.default(new, schema), live, schema)
    except FieldsError as refusal:
        return {"status": refusal.status, "causes": [c.as_json() for c in refusal.causes]}
    return {"status": 200, "causes": []}


def first_lines(causes: list[Json]) -> list[Json]:
    """The causes without the difference that the real server prints below some."""
    return [{**cause, "message": cause["message"].split("\n")[0]} for cause in causes]


@pytest.mark.parametrize("case", load("changed.json"))
def test_a_change_is_allowed_or_refused_as_by_the_real_server(case: Json) -> None:
    answer = changed(case)
    expected = case["answer"]

    assert answer["status"] == expected["status"]
    ours, theirs = answer["causes"], first_lines(expected.get("causes", []))
    assert in_set_order(ours) == in_set_order(theirs)


def in_set_order(causes: list[Json]) -> list[Json]:
    return sorted(causes, key=lambda cause: json.dumps(cause, sort_keys=True))


@pytest.mark.parametrize("case", load("refused.json"))
def test_a_refusal_has_the_real_servers_words(case: Json) -> None:
    expected = case["answer"]
    try:
        created(case["request"], namespace_of(case))
    except FieldsError as refusal:
        answer: Json = {"status": refusal.status}
        answer["causes"] = [cause.as_json() for cause in refusal.causes]
        if not refusal.causes:
            answer["message"] = refusal.message
    else:
        answer = {"status": 201}

    same = answer["status"] == expected["status"] and in_set_order(
        answer.get("causes", [])
    ) == in_set_order(expected.get("causes", []))
    same = same and answer.get("message", "") == expected.get("message", "")

    assert same is (case["id"] not in DEVIATIONS), answer

"""What the recorder takes out of an answer, and what it leaves."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.apiserver.normalise import Normaliser

UID = "6c0f5a52-7d0c-4c0a-9a3e-0123456789ab"
OTHER = "6c0f5a52-7d0c-4c0a-9a3e-ba9876543210"


def _object(**meta: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": "a", **meta}}


def _meta(normaliser: Normaliser, **meta: Any) -> dict[str, Any]:
    result: dict[str, Any] = normaliser.answer(_object(**meta))["metadata"]
    return result


def test_equal_versions_keep_being_equal_and_others_differ() -> None:
    normaliser = Normaliser(sent="")

    versions = [_meta(normaliser, resourceVersion=v)["resourceVersion"] for v in ("7", "9", "7")]

    assert versions == ["<rv:1>", "<rv:2>", "<rv:1>"]


def test_equal_uids_keep_being_equal_wherever_they_stand() -> None:
    normaliser = Normaliser(sent="")

    meta = _meta(normaliser, uid=UID, ownerReferences=[{"uid": OTHER}, {"uid": UID}])
    status = normaliser.answer({"message": f"UID in object meta: {OTHER}"})

    assert meta["uid"] == "<uid:1>"
    assert [owner["uid"] for owner in meta["ownerReferences"]] == ["<uid:2>", "<uid:1>"]
    assert status == {"message": "UID in object meta: <uid:2>"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param({"t": "2026-11-23T05:35:09Z"}, {"t": "<time>"}, id="time"),
        pytest.param({"t": "2026-11-23T05:35:09.123456Z"}, {"t": "<time>"}, id="micro time"),
        pytest.param({"token": "eyJh.eyJi.c2ln"}, {"token": "<token>"}, id="token"),
        pytest.param({"clusterIP": "10.0.3.4"}, {"clusterIP": "<address:1>"}, id="address"),
        pytest.param({"continue": "abc"}, {"continue": "<token>"}, id="continue"),
        pytest.param({"continue": ""}, {"continue": ""}, id="last page"),
        pytest.param({"cells": ["a", "3m2s", 0]}, {"cells": ["a", "<time>", 0]}, id="age"),
        pytest.param(
            {"m": "too old resource version: 1 (305)"},
            {"m": "too old resource version: <rv> (<rv>)"},
            id="version in a text",
        ),
        pytest.param(
            {"serverAddress": "192.168.1.2:6443"}, {"serverAddress": "<address>"}, id="endpoint"
        ),
    ],
)
def test_what_varies_becomes_a_placeholder(answer: Any, expected: Any) -> None:
    assert Normaliser(sent="").answer(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"t": "2020-01-01T00:00:00Z"}, id="time"),
        pytest.param({"uid": OTHER}, id="uid"),
        pytest.param({"clusterIP": "10.0.31.254"}, id="address"),
    ],
)
def test_what_the_scenario_sent_stays(answer: Any) -> None:
    sent = f'"2020-01-01T00:00:00Z" "{OTHER}" "10.0.31.254"'

    assert Normaliser(sent=sent).answer(answer) == answer


def test_everything_else_stays() -> None:
    answer = {
        "code": 404,
        "generation": 3,
        "message": 'configmaps "a" not found',
        "resourceVersion": "0",
        "data": {"version": "1.2.3", "port": "8080", "empty": None, "list": []},
    }

    assert Normaliser(sent="").answer(answer) == answer


def test_generated_name_keeps_its_prefix_and_is_known_again() -> None:
    normaliser = Normaliser(sent="")

    first = _meta(normaliser, generateName="made-", name="made-x7k2p")
    later = normaliser.answer({"message": 'configmaps "made-x7k2p" not found'})

    assert first["name"] == "made-<suffix:1>"
    assert later["message"] == 'configmaps "made-<suffix:1>" not found'


def test_version_of_a_list_gets_no_number() -> None:
    normaliser = Normaliser(sent="")
    listed = {"metadata": {"resourceVersion": "99"}, "items": [_object(resourceVersion="7")]}

    result = normaliser.answer(listed)

    assert result["metadata"]["resourceVersion"] == "<rv>"
    assert result["items"][0]["metadata"]["resourceVersion"] == "<rv:1>"


def test_managed_fields_are_sorted_because_the_server_sorts_by_time() -> None:
    entries = [{"operation": "Update", "manager": m} for m in ("b", "a")]

    meta = _meta(Normaliser(sent=""), managedFields=[*entries, {"operation": "Apply"}])

    assert [e.get("manager") for e in meta["managedFields"]] == [None, "a", "b"]


def test_controllers_of_workloads_leave_no_trace() -> None:
    answer = {
        "metadata": {
            "resourceVersion": "7",
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "managedFields": [{"manager": "kube-controller-manager"}, {"manager": "me"}],
        },
        "spec": {"replicas": 1},
        "status": {"replicas": 1},
    }

    assert Normaliser(sent="", workload=True).answer(answer) == {
        "metadata": {"resourceVersion": "<rv>", "managedFields": [{"manager": "me"}]},
        "spec": {"replicas": 1},
    }

"""managedFields after creates and updates; what clients may do to them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from devcluster.fields.managed import settle

Json = dict[str, Any]
LATER = "2026-01-01T00:00:05Z"


def managers(obj: Json) -> list[tuple[str, str, str]]:
    return [
        (entry["manager"], entry["operation"], entry.get("subresource", ""))
        for entry in obj["metadata"].get("managedFields", [])
    ]


def test_a_create_owns_everything_but_identity(config_maps: Any) -> None:
    obj = config_maps.make(data={"a": "1"}, metadata={"labels": {"l": "x"}, "namespace": "ns"})
    (entry,) = config_maps.update(None, obj)["metadata"]["managedFields"]

    assert entry["fieldsV1"] == {
        "f:data": {".": {}, "f:a": {}},
        "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
    }


def test_a_nameless_manager_is_unknown(config_maps: Any) -> None:
    obj = config_maps.update(None, config_maps.make(data={"a": "1"}), by="")

    assert managers(obj) == [("unknown", "Update", "")]


def test_removed_fields_are_nobodys(config_maps: Any) -> None:
    live = config_maps.update(None, config_maps.make(data={"a": "1", "b": "1"}), by="one")
    new = copy.deepcopy(live)
    del new["data"]["a"]
    obj = config_maps.update(live, new, by="two", now=LATER)

    assert managers(obj) == [("one", "Update", "")]
    assert obj["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {".": {}, "f:b": {}}}
    assert obj["metadata"]["managedFields"][0]["time"] == "2026-01-01T00:00:00Z"


def test_an_emptied_list_of_managers_stops_the_tracking(config_maps: Any) -> None:
    live = config_maps.update(None, config_maps.make(data={"a": "1"}))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"] = []
    untracked = config_maps.update(live, new)
    changed = copy.deepcopy(untracked)
    changed["data"]["a"] = "2"

    assert "managedFields" not in untracked["metadata"]
    assert "managedFields" not in config_maps.update(untracked, changed)["metadata"]


def test_a_client_that_does_not_know_managers_does_not_lose_them(config_maps: Any) -> None:
    live = config_maps.update(None, config_maps.make(data={"a": "1"}))
    new = copy.deepcopy(live)
    del new["metadata"]["managedFields"]

    assert config_maps.update(live, new, now=LATER) is live


def test_a_client_may_rewrite_the_managers(config_maps: Any) -> None:
    live = config_maps.update(None, config_maps.make(data={"a": "1"}), by="kubectl")
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"][0].update(manager="flux", operation="Apply")
    obj = config_maps.update(live, new, by="flux", now=LATER)

    assert managers(obj) == [("flux", "Apply", "")]


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "Patch"},
        {"apiVersion": ""},
        {"fieldsType": ""},
        {"fieldsType": "FieldsV2"},
        {"fieldsV1": {"a": {}}},
    ],
    ids=str,
)
def test_managers_that_are_not_well_formed_are_not_taken(config_maps: Any, change: Json) -> None:
    live = config_maps.update(None, config_maps.make(data={"a": "1"}))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"][0].update(change)

    assert config_maps.update(live, new) is live


def test_a_subresource_cannot_rewrite_the_managers(deployments: Any) -> None:
    live = deployments.update(None, deployments.make(spec={"replicas": 1}))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"] = [{}]
    new["status"] = {"replicas": 1}
    obj = deployments.update(live, new, by="s", subresource="status", now=LATER)

    assert managers(obj) == [("m", "Update", ""), ("s", "Update", "status")]


def test_an_update_through_status_owns_no_spec(deployments: Any) -> None:
    live = deployments.update(None, deployments.make(spec={"replicas": 1}, status={}))
    new = copy.deepcopy(live)
    new["status"] = {"replicas": 1}
    new["spec"]["replicas"] = 5
    new["metadata"]["labels"] = {"l": "x"}
    obj = deployments.update(live, new, by="s", subresource="status", now=LATER)

    assert obj["metadata"]["managedFields"][1]["fieldsV1"] == {"f:status": {"f:replicas": {}}}


def test_the_oldest_of_more_than_ten_updaters_are_merged(config_maps: Any) -> None:
    obj = config_maps.update(None, config_maps.make(data={"k0": "x"}), by="m00")
    for number in range(1, 13):
        new = copy.deepcopy(obj)
        new["data"][f"k{number}"] = "x"
        now = f"2026-01-01T00:01:{number:02d}Z"
        obj = config_maps.update(obj, new, by=f"m{number:02d}", now=now)

    names = [manager for manager, _, _ in managers(obj)]
    assert len(names) == 10
    assert names[0] == "ancient-changes"
    oldest = obj["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]
    assert {"f:k0", "f:k1", "f:k2", "f:k3"} <= oldest.keys()


def test_appliers_come_first_then_time_then_name(config_maps: Any) -> None:
    obj = config_maps.update(None, config_maps.make(data={"a": "1"}), by="z", now=LATER)
    obj = config_maps.apply(obj, config_maps.make(data={"b": "1"}), by="y", now=LATER)
    new = copy.deepcopy(obj)
    new["data"]["c"] = "1"
    obj = config_maps.update(obj, new, by="b", now="2026-01-01T00:00:01Z")

    assert managers(obj) == [("y", "Apply", ""), ("b", "Update", ""), ("z", "Update", "")]


def test_objects_that_differ_in_times_only_are_settled(config_maps: Any) -> None:
    live = config_maps.update(None, config_maps.make(data={"a": "1"}))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"][0]["time"] = LATER
    other = copy.deepcopy(new)
    other["data"]["a"] = "2"

    assert settle(live, new) is live
    assert settle(live, other) is other


def test_lists_with_duplicates_are_owned_as_pieces(services: Any) -> None:
    port = {"port": 80, "protocol": "TCP"}
    twice = services.make(spec={"ports": [{**port, "name": "a"}, {**port, "name": "b"}]})
    live = services.update(None, twice)
    once = copy.deepcopy(live)
    once["spec"]["ports"].pop()
    key = 'k:{"port":80,"protocol":"TCP"}'
    fields = live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"]
    after = services.update(live, once, by="x", now=LATER)

    assert fields == {".": {}, key: {}}
    assert key not in after["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"]

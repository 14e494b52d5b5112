"""Server-side apply: ownership, conflicts, removal, no-ops. Recorded from the real server."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.fields import fieldset
from devcluster.fields.errors import ApplyConflict, FieldsError
from devcluster.fields.extract import field_set
from devcluster.fields.schema import SchemaSet
from devcluster.fields.typed import merge

Json = dict[str, Any]
LATER = "2026-01-01T00:00:05Z"


def pod(**container: Any) -> Json:
    return {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "nginx", **container}]},
        },
    }


def entries(obj: Json) -> dict[tuple[str, str], Json]:
    return {
        (entry["manager"], entry["operation"]): entry
        for entry in obj["metadata"].get("managedFields", [])
    }


def test_an_applied_object_claims_leaves_and_items_but_not_the_way_to_them(
    deployments: Any,
) -> None:
    config = deployments.make(spec=pod(ports=[{"containerPort": 80}]))
    obj = deployments.apply(None, config)

    assert obj["metadata"]["managedFields"] == [
        {
            "manager": "m",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:spec": {
                    "f:selector": {},
                    "f:template": {
                        "f:metadata": {"f:labels": {"f:a": {}}},
                        "f:spec": {
                            "f:containers": {
                                'k:{"name":"c"}': {
                                    ".": {},
                                    "f:image": {},
                                    "f:name": {},
                                    "f:ports": {
                                        'k:{"containerPort":80,"protocol":"TCP"}': {
                                            ".": {},
                                            "f:containerPort": {},
                                        }
                                    },
                                }
                            }
                        },
                    },
                }
            },
        }
    ]


def test_the_same_apply_again_returns_the_very_object(deployments: Any) -> None:
    config = deployments.make(spec=pod())
    obj = deployments.apply(None, config)

    assert deployments.apply(obj, copy.deepcopy(config), now=LATER) is obj


def test_a_second_manager_of_equal_values_shares_them_without_a_time(deployments: Any) -> None:
    config = deployments.make(spec=pod())
    obj = deployments.apply(deployments.apply(None, config), config, by="other", now=LATER)

    assert "time" not in entries(obj)["other", "Apply"]
    assert entries(obj)["m", "Apply"]["time"] == "2026-01-01T00:00:00Z"
    assert entries(obj)["m", "Apply"]["fieldsV1"] == entries(obj)["other", "Apply"]["fieldsV1"]


def test_a_different_value_of_another_manager_is_a_conflict(deployments: Any) -> None:
    live = deployments.apply(None, deployments.make(spec={**pod(), "replicas": 3}), by="two")
    with pytest.raises(ApplyConflict) as caught:
        deployments.apply(live, deployments.make(spec={**pod(), "replicas": 4}), by="three")

    assert caught.value.conflicts == [('"two"', ".spec.replicas")]
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "two": .spec.replicas'
    )
    assert [cause.as_json() for cause in caught.value.causes] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "two"',
            "field": ".spec.replicas",
        }
    ]


def test_several_conflicts_are_listed_by_manager(deployments: Any) -> None:
    live = deployments.update(None, deployments.make(spec={**pod()}), by="me")
    live = deployments.apply(live, deployments.make(spec={**pod(), "replicas": 3}), by="two")
    with pytest.raises(ApplyConflict) as caught:
        deployments.apply(
            live, deployments.make(spec={**pod(image="x"), "replicas": 4}), by="three"
        )

    image = '.spec.template.spec.containers[name="c"].image'
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "me" using apps/v1:\n'
        f'- {image}\nconflicts with "two":\n- .spec.replicas\n- {image}'
    )


def test_force_takes_the_field_over(deployments: Any) -> None:
    live = deployments.apply(None, deployments.make(spec={**pod(), "replicas": 3}), by="two")
    config = deployments.make(spec={**pod(), "replicas": 4})
    obj = deployments.apply(live, config, by="three", force=True, now=LATER)

    assert obj["spec"]["replicas"] == 4
    assert "f:replicas" in entries(obj)["three", "Apply"]["fieldsV1"]["f:spec"]
    assert "f:replicas" not in entries(obj)["two", "Apply"]["fieldsV1"]["f:spec"]


def test_what_is_no_longer_applied_goes(deployments: Any) -> None:
    live = deployments.apply(
        None,
        deployments.make(spec={**pod(args=["x"]), "replicas": 3}, metadata={"labels": {"l": "1"}}),
    )
    obj = deployments.apply(live, deployments.make(spec=pod()), now=LATER)

    assert "replicas" not in obj["spec"]
    assert "labels" not in obj["metadata"]
    assert "args" not in obj["spec"]["template"]["spec"]["containers"][0]


def test_what_another_manager_owns_too_stays(deployments: Any) -> None:
    both = deployments.make(spec={**pod(), "replicas": 3})
    live = deployments.apply(deployments.apply(None, both), both, by="other")
    obj = deployments.apply(live, deployments.make(spec=pod()), now=LATER)

    assert obj["spec"]["replicas"] == 3


def test_an_item_that_is_no_longer_applied_goes_with_its_defaults(deployments: Any) -> None:
    two = deployments.make(spec=pod())
    two["spec"]["template"]["spec"]["containers"].append({"name": "d", "image": "i"})
    live = copy.deepcopy(deployments.apply(None, two))
    live["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] = "Always"
    obj = deployments.apply(live, deployments.make(spec=pod()), now=LATER)

    assert [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]] == ["c"]


def test_items_of_others_keep_their_place(deployments: Any) -> None:
    def env(*names: str) -> Json:
        made: Json = deployments.make(spec=pod(env=[{"name": n, "value": "1"} for n in names]))
        return made

    live = deployments.apply(None, env("a", "b", "c"))
    obj = deployments.apply(live, env("c", "x", "a"), by="other", now=LATER)
    container = obj["spec"]["template"]["spec"]["containers"][0]

    assert [e["name"] for e in container["env"]] == ["b", "c", "x", "a"]


def test_an_update_takes_ownership_of_what_it_changes(deployments: Any) -> None:
    live = deployments.apply(None, deployments.make(spec={**pod(), "replicas": 1}))
    new = copy.deepcopy(live)
    new["spec"]["replicas"] = 2
    obj = deployments.update(live, new, by="kubectl", now=LATER)

    assert entries(obj)["kubectl", "Update"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in entries(obj)["m", "Apply"]["fieldsV1"]["f:spec"]
    assert entries(obj)["m", "Apply"]["time"] == "2026-01-01T00:00:00Z"


def test_an_update_that_changes_nothing_returns_the_very_object(deployments: Any) -> None:
    live = deployments.apply(None, deployments.make(spec=pod()))

    assert deployments.update(live, copy.deepcopy(live), by="x", now=LATER) is live


def test_status_belongs_to_the_subresource(deployments: Any) -> None:
    config = deployments.make(spec=pod(), status={"replicas": 1})
    main = deployments.apply(None, config)
    obj = deployments.apply(main, config, by="s", subresource="status", now=LATER)

    assert list(entries(main)["m", "Apply"]["fieldsV1"]) == ["f:spec"]
    assert entries(obj)["s", "Apply"]["fieldsV1"] == {"f:status": {"f:replicas": {}}}
    assert entries(obj)["s", "Apply"]["subresource"] == "status"


def test_an_untracked_object_is_owned_by_its_past(deployments: Any) -> None:
    live = deployments.update(None, deployments.make(spec=pod()))
    del live["metadata"]["managedFields"]
    obj = deployments.apply(live, deployments.make(spec=pod()), now=LATER)

    assert ("before-first-apply", "Update") in entries(obj)
    with pytest.raises(ApplyConflict, match="before-first-apply"):
        deployments.apply(live, deployments.make(spec=pod(image="x")))


def test_kubectl_takes_over_what_it_applied_on_the_client(config_maps: Any) -> None:
    last = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"it"},"data":{"a":"1"}}'
    key = "kubectl.kubernetes.io/last-applied-configuration"
    live = config_maps.update(
        None,
        config_maps.make(data={"a": "1"}, metadata={"annotations": {key: last}}),
        by="kubectl-client-side-apply",
    )
    config = config_maps.make(data={"a": "2"})
    obj = config_maps.apply(live, config, by="kubectl", now=LATER)

    assert obj["data"] == {"a": "2"}
    assert '"a":"2"' in obj["metadata"]["annotations"][key]
    with pytest.raises(ApplyConflict):
        config_maps.apply(live, config, by="flux", now=LATER)


@pytest.mark.parametrize(
    ("config", "status", "message"),
    [
        (
            {"spec": {"foo": 1}},
            500,
            (
                "failed to create typed patch object (/it; apps/v1, Kind=Deployment):"
                " .spec.foo: field not declared in schema"
            ),
        ),
        (
            {"spec": {"replicas": "x"}},
            500,
            (
                "failed to create typed patch object (/it; apps/v1, Kind=Deployment):"
                " .spec.replicas: expected numeric (int or float), got string"
            ),
        ),
        (
            {"spec": {"template": {"spec": {"containers": {"a": 1}}}}},
            500,
            (
                "failed to create typed patch object (/it; apps/v1, Kind=Deployment):"
                " .spec.template.spec.containers: expected list, got &{map[a:1]}"
            ),
        ),
        (
            {"spec": {"template": {"spec": {"containers": [{"name": "x"}, {"name": "x"}]}}}},
            500,
            (
                "failed to create typed patch object (/it; apps/v1, Kind=Deployment):"
                ' .spec.template.spec.containers: duplicate entries for key [name="x"]'
            ),
        ),
        ({"metadata": {"managedFields": []}}, 400, "metadata.managedFields must be nil"),
        ({"apiVersion": "v2"}, 400, "invalid object type: /v2, Kind=Deployment"),
        ({"apiVersion": ""}, 400, "invalid object type: /, Kind=Deployment"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    deployments: Any, config: Json, status: int, message: str
) -> None:
    with pytest.raises(FieldsError) as caught:
        deployments.apply(
            None,
            {
                **deployments.make(),
                **deployments.make(**config.copy()),
                **{key: value for key, value in config.items() if key == "apiVersion"},
            },
        )

    assert (caught.value.status, caught.value.message) == (status, message)
    assert caught.value.reason == ("" if status == 500 else "BadRequest")


def test_an_item_without_its_key_counts_under_the_keys_zero_value(deployments: Any) -> None:
    config = deployments.make(spec={"template": {"spec": {"containers": [{"image": "i"}]}}})
    obj = deployments.apply(None, config)
    fields = obj["metadata"]["managedFields"][0]["fieldsV1"]

    assert list(fields["f:spec"]["f:template"]["f:spec"]["f:containers"]) == ['k:{"name":""}']
    assert obj["spec"]["template"]["spec"]["containers"][0]["name"] == ""


def test_quantities_in_another_notation_change_nothing(deployments: Any) -> None:
    live = deployments.apply(None, deployments.make(spec=pod(resources={"limits": {"cpu": "1"}})))
    config = deployments.make(spec=pod(resources={"limits": {"cpu": "1000m"}}))

    assert deployments.apply(live, config, now=LATER) is live


def test_empty_optional_fields_disappear_but_stay_claimed(deployments: Any) -> None:
    config = deployments.make(spec={**pod(), "paused": False})
    obj = deployments.apply(None, config)

    assert "paused" not in obj["spec"]
    assert "f:paused" in entries(obj)["m", "Apply"]["fieldsV1"]["f:spec"]
    assert deployments.apply(obj, config, now=LATER) is obj


def test_an_empty_field_that_is_not_written_conflicts_with_its_owner(config_maps: Any) -> None:
    """The server compares with what it stored, where the empty map is gone."""
    config = config_maps.make(data={})
    live = config_maps.apply(None, config, by="l")
    with pytest.raises(ApplyConflict) as caught:
        config_maps.apply(live, config, by="r")

    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "l": .data'


def test_custom_resources_merge_by_their_list_types(things: Any) -> None:
    live = things.apply(
        None,
        things.make(
            spec={"must": "ab", "set": ["a"], "lm": [{"k": "a", "v": 1}], "am": {"x": "1"}}
        ),
    )
    config = things.make(spec={"must": "ab", "set": ["b"], "lm": [{"k": "b"}], "any": {"x": [1]}})
    obj = things.apply(live, config, by="other", now=LATER)

    assert obj["spec"]["set"] == ["a", "b"]
    assert obj["spec"]["lm"] == [{"k": "a", "v": 1}, {"k": "b"}]
    assert entries(obj)["other", "Apply"]["fieldsV1"] == {
        "f:spec": {
            "f:any": {"f:x": {}},
            "f:lm": {'k:{"k":"b"}': {".": {}, "f:k": {}}},
            "f:must": {},
            "f:set": {'v:"b"': {}},
        }
    }
    with pytest.raises(ApplyConflict) as caught:
        things.apply(live, things.make(spec={"must": "ab", "am": {"y": "2"}}), by="other")
    assert caught.value.conflicts == [('"m"', ".spec.am")]


# --- properties ----------------------------------------------------------------------------------

_names = st.sampled_from(["a", "b", "c"])
_containers = st.lists(
    st.fixed_dictionaries(
        {"name": _names, "image": st.sampled_from(["i:1", "i:2"])},
        optional={
            "args": st.lists(st.sampled_from("xy"), max_size=2),
            "env": st.lists(
                st.fixed_dictionaries({"name": _names, "value": st.sampled_from("12")}),
                max_size=3,
                unique_by=lambda e: e["name"],
            ),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda c: c["name"],
)
_specs = st.fixed_dictionaries(
    {
        "selector": st.just({"matchLabels": {"a": "b"}}),
        "template": st.fixed_dictionaries(
            {"spec": st.fixed_dictionaries({"containers": _containers})}
        ),
    },
    optional={"replicas": st.integers(0, 3), "paused": st.booleans()},
)
_data = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("12"), max_size=4)
_filled = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("12"), min_size=1, max_size=4)


@given(_specs, _specs)
def test_apply_is_idempotent(deployments: Any, first: Json, second: Json) -> None:
    one = deployments.apply(None, deployments.make(spec=first))
    two = deployments.apply(one, deployments.make(spec=second), now=LATER)

    assert deployments.apply(two, deployments.make(spec=second), now=LATER) is two


@given(_filled, _filled)
def test_disjoint_applies_of_two_managers_commute(
    config_maps: Any, left: Json, right: Json
) -> None:
    right = {key.upper(): value for key, value in right.items()}
    ours, theirs = config_maps.make(data=left), config_maps.make(data=right)
    one = config_maps.apply(config_maps.apply(None, ours, by="l"), theirs, by="r")
    two = config_maps.apply(config_maps.apply(None, theirs, by="r"), ours, by="l")

    assert one.get("data") == two.get("data")
    fields = [{k: e["fieldsV1"] for k, e in entries(obj).items()} for obj in (one, two)]
    assert fields[0] == fields[1]


@given(_data, _data, _data)
def test_only_what_is_applied_by_someone_stays(
    config_maps: Any, first: Json, other: Json, last: Json
) -> None:
    live = config_maps.apply(None, config_maps.make(data=first))
    live = config_maps.apply(live, config_maps.make(data=other), by="o", force=True, now=LATER)
    live = config_maps.apply(live, config_maps.make(data=last), force=True, now=LATER)

    assert set(live.get("data", {})) == set(other) | set(last)
    assert {key: live["data"][key] for key in last} == last


@given(_specs, _specs)
def test_a_merge_contains_all_that_was_applied(first: Json, second: Json) -> None:
    schema = SchemaSet.builtin().for_kind("apps", "v1", "Deployment")
    assert schema is not None
    merged = merge({"spec": first}, {"spec": second}, schema.root)
    claimed = field_set({"spec": second}, schema.root)

    assert fieldset.subset(claimed, field_set(merged, schema.root))
    assert merge(merged, {"spec": second}, schema.root) is merged


@given(_specs, _specs)
def test_an_apply_leaves_the_live_object_alone(deployments: Any, first: Json, second: Json) -> None:
    live = deployments.apply(None, deployments.make(spec=first))
    before = copy.deepcopy(live)
    deployments.apply(live, deployments.make(spec=second), by="other", force=True, now=LATER)

    assert live == before

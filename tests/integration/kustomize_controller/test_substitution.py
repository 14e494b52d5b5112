"""``postBuild``: where variables come from, which of them wins, and that Secrets stay secret."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of

WATCHED = {"reconcile.fluxcd.io/watch": "Enabled"}


async def variables(
    world: Harness, kind: str, name: str, *, labels: dict[str, str] | None = None, **values: str
) -> JsonObject:
    """A ConfigMap or Secret with variables."""
    metadata = {"name": name, "namespace": "team", "labels": labels or {}}
    obj: JsonObject = {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": values}
    if kind == "Secret":
        obj["data"] = {k: base64.b64encode(v.encode()).decode() for k, v in values.items()}
    return await world.apply(obj, kinds.SECRET if kind == "Secret" else kinds.CONFIG_MAP)


async def data_of(world: Harness, name: str = "settings") -> dict[str, str]:
    found = await world.get(CONFIG_MAPS, name)
    data: dict[str, str] = found["data"]
    return data


@pytest.mark.shows("field:Kustomization/spec.postBuild.substitute")
async def test_inline_variables_are_put_in(world: Harness) -> None:
    text = "${name}, ${name^^}, ${gone:=else}, $${kept}, $bare"
    revision = await world.source({"a.yaml": configmap(text=text)})
    await world.kustomization(postBuild={"substitute": {"name": "ann"}})
    await world.applied(revision)

    assert await data_of(world) == {"text": "ann, ANN, else, ${kept}, $bare"}


@pytest.mark.shows(
    "field:Kustomization/spec.postBuild.substituteFrom[].kind",
    "field:Kustomization/spec.postBuild.substituteFrom[].name",
)
async def test_a_later_source_wins_and_inline_wins_over_all(world: Harness) -> None:
    await variables(world, "ConfigMap", "first", a="map", b="map", c="map")
    await variables(world, "Secret", "second", b="secret", c="secret")
    revision = await world.source({"x.yaml": configmap(a="${a}", b="${b}", c="${c}")})
    sources = [{"kind": "ConfigMap", "name": "first"}, {"kind": "Secret", "name": "second"}]
    await world.kustomization(postBuild={"substituteFrom": sources, "substitute": {"c": "inline"}})
    await world.applied(revision)

    assert await data_of(world) == {"a": "map", "b": "secret", "c": "inline"}


async def test_the_order_of_sources_counts_and_not_their_kind(world: Harness) -> None:
    await variables(world, "Secret", "one", a="secret")
    await variables(world, "ConfigMap", "one", a="map")
    revision = await world.source({"x.yaml": configmap(a="${a}")})
    sources = [{"kind": "Secret", "name": "one"}, {"kind": "ConfigMap", "name": "one"}]
    await world.kustomization(postBuild={"substituteFrom": sources})
    await world.applied(revision)

    assert await data_of(world) == {"a": "map"}


@pytest.mark.shows("field:Kustomization/spec.postBuild.substituteFrom[].optional")
@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_an_optional_source_may_be_missing_and_counts_once_it_is_there(
    world: Harness, kind: str
) -> None:
    reference = {"kind": kind, "name": "late", "optional": True}
    build = {"substituteFrom": [reference], "substituteStrategy": "Always"}
    revision = await world.source({"a.yaml": configmap(a="${a:=default}")})
    await world.kustomization(postBuild=build)
    await world.applied(revision)
    assert await data_of(world) == {"a": "default"}
    await variables(world, kind, "late", labels=WATCHED, a="late")

    await world.until(lambda o: o["data"] == {"a": "late"}, "settings", resource=CONFIG_MAPS)


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
@pytest.mark.parametrize("optional", [False, None])
async def test_a_missing_source_is_named(
    world: Harness, kind: str, *, optional: bool | None
) -> None:
    reference: dict[str, Any] = {"kind": kind, "name": "gone"}
    if optional is not None:
        reference["optional"] = optional
    await world.source({"a.yaml": configmap(a="${a}")})
    await world.kustomization(postBuild={"substituteFrom": [reference]})
    failed = await world.failed("BuildFailed")

    assert f"{kind} 'team/gone' does not exist" in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")


async def test_a_missing_source_that_appears_wakes_whoever_waits_for_it(world: Harness) -> None:
    reference = {"kind": "Secret", "name": "late"}
    revision = await world.source({"a.yaml": configmap(a="${a}")})
    await world.kustomization(postBuild={"substituteFrom": [reference]})
    await world.failed("BuildFailed")
    await variables(world, "Secret", "late", labels=WATCHED, a="there")
    await world.applied(revision)

    assert await data_of(world) == {"a": "there"}


async def test_a_watched_config_that_goes_wakes_too(world: Harness) -> None:
    await variables(world, "ConfigMap", "vars", labels=WATCHED, a="x")
    reference = {"kind": "ConfigMap", "name": "vars", "optional": True}
    build = {"substituteFrom": [reference], "substituteStrategy": "Always"}
    revision = await world.source({"a.yaml": configmap(a="${a:=default}")})
    await world.kustomization(postBuild=build)
    await world.applied(revision)
    await world.client.delete(CONFIG_MAPS, ObjectKey("team", "vars"))

    await world.until(lambda o: o["data"] == {"a": "default"}, "settings", resource=CONFIG_MAPS)


async def test_without_the_label_a_change_waits_for_the_next_run(world: Harness) -> None:
    """What is labelled is changed last: by the time it has had its effect, the other would have."""
    await variables(world, "ConfigMap", "quiet", a="old")
    await variables(world, "ConfigMap", "loud", labels=WATCHED, b="old")
    await world.source({"a.yaml": configmap("one", a="${a}")}, name="one")
    await world.source({"b.yaml": configmap("two", b="${b}")}, name="two")
    for name, config in (("one", "quiet"), ("two", "loud")):
        await world.kustomization(
            name,
            sourceRef={"kind": "GitRepository", "name": name},
            postBuild={"substituteFrom": [{"kind": "ConfigMap", "name": config}]},
        )
        await world.until(lambda o: ready_of(o).get("status") == "True", name)
    await variables(world, "ConfigMap", "quiet", a="new")
    await variables(world, "ConfigMap", "loud", labels=WATCHED, b="new")
    await world.until(lambda o: o["data"] == {"b": "new"}, "two", resource=CONFIG_MAPS)
    assert await data_of(world, "one") == {"a": "old"}
    await world.request("now", "one")

    await world.until(lambda o: o["data"] == {"a": "new"}, "one", resource=CONFIG_MAPS)


STRATEGIES: dict[str, tuple[dict[str, Any], str]] = {
    "by default without variables": ({"substitute": {}}, "$${x} ${y:=z}"),
    "WithVariables, and none": ({"substituteStrategy": "WithVariables"}, "$${x} ${y:=z}"),
    "WithVariables, and one": (
        {"substituteStrategy": "WithVariables", "substitute": {"y": "1"}},
        "${x} 1",
    ),
    "Always": ({"substituteStrategy": "Always"}, "${x} z"),
}


@pytest.mark.shows("field:Kustomization/spec.postBuild.substituteStrategy")
@pytest.mark.parametrize("case", STRATEGIES)
async def test_the_strategy_says_whether_to_substitute_without_variables(
    world: Harness, case: str
) -> None:
    build, expected = STRATEGIES[case]
    revision = await world.source({"a.yaml": configmap(a="$${x} ${y:=z}")})
    await world.kustomization(postBuild=build)
    await world.applied(revision)

    assert await data_of(world) == {"a": expected}


async def test_a_variable_that_is_not_set_is_named(world: Harness) -> None:
    await world.source({"a.yaml": configmap(a="${missing_one}")})
    await world.kustomization(postBuild={"substitute": {"other": "x"}})
    failed = await world.failed("BuildFailed")

    message = ready_of(failed)["message"]
    assert "missing_one" in message
    assert "ConfigMap/team/settings" in message
    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.parametrize("place", ["labels", "annotations"])
async def test_an_object_can_keep_its_text(world: Harness, place: str) -> None:
    switch = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    kept = orjson.loads(configmap("kept", a="${a}"))
    kept["metadata"][place] = switch
    near = orjson.loads(configmap("near", a="${a}"))
    near["metadata"][place] = {"kustomize.toolkit.fluxcd.io/substitute": "Disabled"}
    files = {"a.yaml": orjson.dumps(kept).decode(), "b.yaml": orjson.dumps(near).decode()}
    revision = await world.source(files)
    await world.kustomization(postBuild={"substitute": {"a": "x"}})
    await world.applied(revision)

    assert await data_of(world, "kept") == {"a": "${a}"}
    assert await data_of(world, "near") == {"a": "x"}


# --- secrets ---------------------------------------------------------------------------------------

HIDDEN = "s3cr3t-Value/1"
LEAKS: dict[str, tuple[dict[str, str], str]] = {
    "refused by its API": (
        {"a.yaml": configmap("x-${password}")},
        "ReconciliationFailed",
    ),
    "in a Secret that is refused": (
        {
            "a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: team}\n"
            "type: kubernetes.io/dockerconfigjson\nstringData:\n"
            "  .dockerconfigjson: 'not ${password} json'\n"
        },
        "ReconciliationFailed",
    ),
    "as a key": ({"a.yaml": configmap(**{"${password}": "x"})}, "ReconciliationFailed"),
    "as a value of a field": (
        {
            "a.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: team}\n"
            "spec: {type: '${password}', ports: [{port: 80}]}\n"
        },
        "ReconciliationFailed",
    ),
    "as a namespace": ({"a.yaml": configmap("x", "${password}")}, "ReconciliationFailed"),
    "as a kind": (
        {"a.yaml": configmap().replace('"ConfigMap"', '"${password}"')},
        "ReconciliationFailed",
    ),
    "in text that is no YAML then": ({"a.yaml": configmap(x='\\"${password}: [')}, ""),
    "in an operator": ({"a.yaml": configmap("x${password:1:6}_")}, "ReconciliationFailed"),
}


@pytest.mark.parametrize("case", LEAKS)
async def test_a_secret_value_shows_nowhere(
    world: Harness, case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Status, events and logs: neither plain nor in base64, nor the part that an operator took."""
    files, reason = LEAKS[case]
    await variables(world, "Secret", "vars", password=HIDDEN)
    revision = await world.source(files)
    build = {"substituteFrom": [{"kind": "Secret", "name": "vars"}]}
    await world.kustomization(postBuild=build)
    if reason:
        failed = await world.failed(reason)
        assert ready_of(failed)["message"]
        await world.event(reason)
    else:
        await world.applied(revision)
        await world.event("ReconciliationSucceeded")

    shown = await everything_shown(world, capfd)
    assert any("team" in text for text in shown)
    for secret in (HIDDEN, base64.b64encode(HIDDEN.encode()).decode(), HIDDEN[1:7]):
        assert [text for text in shown if secret in text] == []


async def test_a_secret_of_the_source_shows_nowhere(
    world: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the API server echoes of a Secret that it refuses, and a change of one that it takes."""
    secret = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: team}\n"
        "type: %s\nimmutable: true\nstringData: {password: '%s'}\n"
    )
    revision = await world.source({"a.yaml": secret % ("Opaque", HIDDEN)})
    await world.kustomization()
    await world.applied(revision)
    await world.source({"a.yaml": secret % ("example.com/other", HIDDEN + "-changed")})
    await world.failed("ReconciliationFailed")
    await world.event("ReconciliationFailed")

    shown = await everything_shown(world, capfd)
    for value in (HIDDEN, HIDDEN + "-changed"):
        for secret in (value, base64.b64encode(value.encode()).decode().rstrip("=")):
            assert [text for text in shown if secret in text] == []


async def everything_shown(world: Harness, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of the log, every event, and the parts of every Kustomization's status."""
    texts = [line for stream in capfd.readouterr() for line in stream.splitlines()]
    events = (await world.client.list_all(kinds.EVENT)).items
    texts += [orjson.dumps(event).decode() for event in events]
    for obj in (await world.client.list_all(kinds.KUSTOMIZATION)).items:
        texts += [orjson.dumps({name: part}).decode() for name, part in obj["status"].items()]
    return texts

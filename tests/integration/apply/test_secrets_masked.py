"""What came from a Secret is in no diff and in no error, also where the server quotes it."""

from __future__ import annotations

import base64

import pytest

from fluvial.apply import ApplyOptions, StageRejected, plan_set, prepare
from fluvial.objects import JsonObject
from integration.apply.apply_world import World

PASSWORD = "correct horse battery staple"


def _secret(world: World, **data: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "p", "namespace": world.namespace},
        "stringData": data,
    }


async def test_diff_of_a_secret_shows_that_and_not_what(world: World) -> None:
    await world.apply(_secret(world, password=PASSWORD, old="gone-value"))

    (plan,) = await plan_set(
        world.target,
        prepare([_secret(world, password="another", new="new-value")], owner=world.owner),
        known=world.known,
        options=ApplyOptions(),
    )

    diff = plan.planned[0].diff
    assert diff is not None
    assert diff.text().splitlines() == [
        '+ /data/new: "***"',
        '- /data/old: "***"',
        '~ /data/password: "*** (before)" -> "*** (after)"',
    ]


async def test_substituted_string_is_masked_where_the_server_quotes_it(world: World) -> None:
    config = world.config_map("a", k="1")
    config["metadata"]["labels"] = {"x": PASSWORD}
    target = world.masked(PASSWORD)

    with pytest.raises(StageRejected) as caught:
        await world.apply(config, target=target)

    assert PASSWORD not in str(caught.value)
    assert "***" in str(caught.value)


async def test_substituted_string_is_masked_in_a_diff(world: World) -> None:
    await world.apply(world.config_map("a", k=f"before {PASSWORD}"))

    (plan,) = await plan_set(
        world.masked(PASSWORD),
        prepare([world.config_map("a", k=f"after {PASSWORD}")], owner=world.owner),
        known=world.known,
        options=ApplyOptions(),
    )

    diff = plan.planned[0].diff
    assert diff is not None
    assert diff.text() == '~ /data/k: "before ***" -> "after ***"'


async def test_refused_secret_tells_nothing_of_its_content(world: World) -> None:
    encoded = base64.b64encode(PASSWORD.encode()).decode()
    broken = _secret(world)
    broken |= {"data": {"ok": encoded, "broken": "%%" + PASSWORD}, "type": PASSWORD}
    broken["metadata"]["labels"] = {"x": PASSWORD}

    with pytest.raises(StageRejected) as caught:
        await world.apply(broken, world.config_map("a"))

    text = str(caught.value)
    assert PASSWORD not in text
    assert encoded not in text
    assert f"Secret/{world.namespace}/p" in text

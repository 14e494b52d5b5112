"""What the benchmark of events expects is what the controller's own rules say."""

from __future__ import annotations

from collections import Counter

import orjson
from bench.events.workload import DEAD, SLOW, TENANTS, alerts, event, matches, providers

from fluvial.api.codec import decode
from fluvial.api.notification import Alert, Provider
from notification_controller.alert.matching import match
from notification_controller.event.model import read_event

_URLS = {"live": "http://a", DEAD: "http://b", SLOW: "http://c"}


def test_there_are_two_hundred_alerts_whose_providers_are_there() -> None:
    all_alerts = [decode(obj, Alert) for obj in alerts()]
    known = {
        (one.metadata.namespace, one.metadata.name): one.spec.address
        for one in (decode(obj, Provider) for obj in providers(_URLS))
    }

    assert len(all_alerts) == 200
    assert {(a.metadata.namespace, a.spec.provider_ref.name) for a in all_alerts} == known.keys()
    assert [address for address in known.values() if address.startswith("http://b/")] == [
        "http://b/t0/main"
    ]


def test_the_expected_messages_are_those_of_the_alerts() -> None:
    all_alerts = [decode(obj, Alert) for obj in alerts()]
    for number in range(0, 40 * TENANTS, 7):
        posted = event(number, "run")
        read = read_event(orjson.dumps(posted)).cleaned()
        told = Counter(
            f"{one.metadata.namespace}/{one.spec.provider_ref.name}"
            for one in all_alerts
            if match(one, read).told
        )

        assert told == Counter(matches(posted))


def test_events_of_one_run_differ_from_those_of_another() -> None:
    messages = {event(number, run)["message"] for number in range(100) for run in ("a", "b")}

    assert len(messages) == 200

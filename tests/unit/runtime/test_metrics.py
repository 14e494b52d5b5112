"""Names, buckets and labels that Flux' dashboards rely on."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import TestClient, TestServer

from fluvial.clock import RealClock
from fluvial.objects import ObjectKey
from fluvial.runtime.metrics import Metrics, metrics_app
from fluvial.runtime.probes import Probes, probes_app
from fluvial.runtime.queue import WorkQueue


def test_flux_histogram_has_ten_exponential_buckets_from_10_ms_to_30_min() -> None:
    metrics = Metrics()
    metrics.observe_object("App", ObjectKey("ns", "a"), 1)
    bounds = [
        float(sample.labels["le"])
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "gotk_reconcile_duration_seconds_bucket"
    ]

    assert len(bounds) == 11
    assert bounds[0] == pytest.approx(0.01)
    assert bounds[-2] == pytest.approx(1800)
    assert bounds[1] / bounds[0] == pytest.approx(bounds[9] / bounds[8])


@pytest.mark.looptime
async def test_the_queue_is_measured() -> None:
    metrics = Metrics()
    queue: WorkQueue[str] = WorkQueue(observer=metrics.queue("app", RealClock()))

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"name": "app", "controller": "app"})

    queue.add("a")
    queue.add("b")
    await asyncio.sleep(2)
    await queue.get()
    await asyncio.sleep(3)

    assert value("workqueue_depth") == 1
    assert value("workqueue_adds_total") == 2
    assert value("workqueue_queue_duration_seconds_sum") == pytest.approx(2, abs=0.01)
    assert value("workqueue_unfinished_work_seconds") == pytest.approx(3, abs=0.01)
    assert value("workqueue_longest_running_processor_seconds") == pytest.approx(3, abs=0.01)
    queue.done("a")
    queue.add_rate_limited("a")
    assert value("workqueue_work_duration_seconds_sum") == pytest.approx(3, abs=0.01)
    assert value("workqueue_unfinished_work_seconds") == 0
    assert value("workqueue_retries_total") == 1


async def test_the_endpoint_serves_the_text_format() -> None:
    metrics = Metrics()
    metrics.prepare("app", 4)
    async with TestClient(TestServer(metrics_app(metrics))) as client:
        answer = await client.get("/metrics")
        text = await answer.text()

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'controller_runtime_reconcile_total{controller="app",result="success"} 0.0' in text
    assert 'controller_runtime_max_concurrent_reconciles{controller="app"} 4.0' in text
    assert "_created" not in text


def test_kinds_that_are_waited_for_are_shown_until_they_are_served() -> None:
    metrics = Metrics()
    metrics.awaits_kind("things.example.test", 2)
    waiting = metrics.render().decode()
    metrics.awaits_kind("things.example.test", 0)

    line = 'fluvial_informers_waiting_for_kind{resource="things.example.test"}'
    assert f"{line} 2.0" in waiting
    assert line not in metrics.render().decode()


async def test_probes() -> None:
    probes = Probes()
    reasons = {"caches": "", "server": ""}
    probes.add("caches", lambda: reasons["caches"])
    probes.add("server", lambda: reasons["server"])
    async with TestClient(TestServer(probes_app(probes))) as client:
        assert (await client.get("/readyz")).status == 200
        reasons["server"] = "not listening"
        refused = await client.get("/readyz")
        assert refused.status == 500
        assert await refused.text() == "server: not listening"
        assert (await client.get("/healthz")).status == 200


def test_a_check_has_one_name() -> None:
    probes = Probes()
    probes.add("a", lambda: "")
    with pytest.raises(ValueError, match="'a'"):
        probes.add("a", lambda: "")

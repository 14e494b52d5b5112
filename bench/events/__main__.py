"""``make bench-events``: 10,000 events a minute, 200 Alerts, a dead service and a slow one.

First minutes of load, then an orderly end; then a start, load, SIGKILL, and another start. Each
event and each message must be accounted for. Memory is the sum of PSS of the controller and its
children, the highest of two looks a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson

from bench.events import services
from bench.events.posting import Posted, post
from bench.events.workload import DEAD, SLOW, TENANTS, alerts, namespace, providers
from bench.load.sampling import GroupUse, Sampler
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial_cli import dev
from fluvial_cli.processes import Program

__all__ = ["main"]

_NAME = "notification-controller"
_MEMORY_TARGET = 140.0
_END_SECONDS = 60.0
_SETTLE_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_OUTCOMES = ("delivered", "failed", "dropped", "grouped", "suppressed")


@dataclass(frozen=True, slots=True)
class _Running:
    """A started controller."""

    pid: int
    events: str
    metrics: str
    log: Path


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 where an account does not close or a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=__doc__)
    parser.add_argument("--per-minute", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--killed-after", type=float, default=20.0, help="0 for no such run")
    given = parser.parse_args(argv)
    return asyncio.run(_measure(given.per_minute, given.seconds, given.killed_after))


async def _measure(per_minute: int, seconds: float, killed_after: float) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-events-") as name:
        options = dev.DevOptions(controllers=(), folder=Path(name))
        async with dev.dev_environment(options) as environment:
            served = await services.start(environment.processes, Path(name))
            await _objects(environment.client, served.urls)
            closes = await _sustained(environment, served, per_minute, seconds)
            if killed_after:
                closes = await _killed(environment, per_minute, killed_after) and closes
    _say(f"load {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores")
    return 0 if closes else 1


async def _objects(client: KubeClient, urls: dict[str, str]) -> None:
    for tenant in range(TENANTS):
        name = namespace(tenant)
        await client.apply(
            kinds.NAMESPACE,
            ObjectKey("", name),
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            field_manager="bench",
        )
        secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"token": "bench"}}
        key = ObjectKey(name, "token")
        secret["metadata"] = {"name": key.name, "namespace": name}
        await client.apply(kinds.SECRET, key, secret, field_manager="bench")
    for obj in providers(urls):
        await client.apply(kinds.PROVIDER, key_of(obj), obj, field_manager="bench")
    for obj in alerts():
        await client.apply(kinds.ALERT, key_of(obj), obj, field_manager="bench")


async def _start(environment: dev.Environment, name: str) -> _Running:
    log = environment.folder / "logs" / f"{name}.log"
    argv = [
        sys.executable,
        "-m",
        "notification_controller",
        f"--kubeconfig={environment.kubeconfig}",
        "--health-addr=127.0.0.1:0",
        "--metrics-addr=127.0.0.1:0",
        "--receiverAddr=127.0.0.1:0",
        "--events-addr=127.0.0.1:0",
        "--enable-leader-election=false",
        "--allow-outbound=127.0.0.0/8",
    ]
    pid = await environment.processes.start(Program(name, argv, log), is_ready=dev.says_ready)
    ready = orjson.loads(next(x for x in log.read_bytes().splitlines() if dev.says_ready(x)))
    return _Running(
        pid, f"http://{ready['eventsAddr']}/", f"http://{ready['metricsAddr']}/metrics", log
    )


# --- minutes of load ----------------------------------------------------------------------------------


async def _sustained(
    environment: dev.Environment, served: services.Services, per_minute: int, seconds: float
) -> bool:
    running = await _start(environment, _NAME)
    _say(f"posting {per_minute} events a minute for {seconds:.0f} s to {TENANTS * 10} Alerts")
    async with Sampler({_NAME: running.pid}) as sampler:
        posted = await post(running.events, per_minute=per_minute, seconds=seconds, run="one")
        use = (await sampler.uses())[0]
    await asyncio.sleep(_SETTLE_SECONDS)
    account = await _account(running)
    quick = await _within(running, "0.01")
    answered = await served.answered()
    await _end(running.pid, signal.SIGTERM)
    final = _logged(running.log, "messages accounted for")[0]
    _print_posts(posted, use, seconds)
    _say(f"  the server took 10 ms or less for {quick:.2%} of them")
    _print_account(account, posted, answered)
    blocked = running.log.read_text().count("the event loop was blocked")
    _say(f"  the event loop was blocked {blocked} times")
    _say(f"  when it had ended: {final}")
    checks = _checks(posted, account)
    told = (await served.answered()).total()
    checks["delivered = answered by the services"] = (final["delivered"], told)
    ends = sum(final.get(name, 0) for name in _OUTCOMES)
    checks["matched = outcomes when it had ended"] = (final["matched"], ends)
    return _print_checks(checks) and use.peak_mib <= _MEMORY_TARGET


def _checks(posted: Posted, account: dict[str, float]) -> dict[str, tuple[float, float]]:
    outcomes = sum(
        value for name, value in account.items() if name.startswith("fluvial_notifications_total{")
    )
    reasons = sum(
        value
        for name, value in account.items()
        if name.startswith("fluvial_notifications_dropped_total{")
    )
    handled = account["fluvial_received_events_handled_total"]
    waiting = account["fluvial_received_events_waiting"]
    lost = account["fluvial_received_events_dropped_total"]
    told = account["fluvial_alerted_events_total"]
    return {
        "posted = answered 202 or 429": (posted.count, posted.answers[202] + posted.answers[429]),
        "answered 202 = handled + dropped + waiting": (
            posted.answers[202],
            handled + lost + waiting,
        ),
        "expected messages = matched": (sum(posted.expected.values()), told),
        "matched = outcomes + waiting": (
            told,
            outcomes + account["fluvial_notifications_waiting"],
        ),
        "dropped = by reason": (
            account.get('fluvial_notifications_total{outcome="dropped"}', 0.0),
            reasons,
        ),
    }


def _print_posts(posted: Posted, use: GroupUse, seconds: float) -> None:
    times = sorted(posted.seconds)
    share = {p: times[min(len(times) - 1, int(p * len(times)))] * 1e3 for p in (0.5, 0.99, 0.999)}
    _say(
        f"posts: {posted.count} in {seconds:.0f} s, answers {dict(posted.answers)},"
        f" p50 {share[0.5]:.1f} ms, p99 {share[0.99]:.1f} ms, p99.9 {share[0.999]:.1f} ms,"
        f" max {times[-1] * 1e3:.0f} ms; the poster was {posted.late * 1e3:.0f} ms late at most"
    )
    how = "PSS" if use.exact else "resident"
    _say(
        f"memory: peak {use.peak_mib:.0f} MiB ({how}, target {_MEMORY_TARGET:.0f});"
        f" CPU {use.cpu_seconds:.1f} s, {use.cpu_seconds / seconds:.0%} of a core"
    )


def _print_account(account: dict[str, float], posted: Posted, answered: Counter[str]) -> None:
    for name, value in sorted(account.items()):
        _say(f"  {name} {value:.0f}")
    for provider in (DEAD, SLOW):
        _say(f"  {provider}: {posted.expected[provider]} expected, {answered[provider]} answered")
    live = {name: number for name, number in posted.expected.items() if name.endswith("/main")}
    missing = {
        name: number - answered[name]
        for name, number in live.items()
        if name not in {DEAD, SLOW} and number != answered[name]
    }
    _say(f"  live services that miss a message: {missing or 'none'}")


def _print_checks(checks: dict[str, tuple[float, float]]) -> bool:
    for name, (left, right) in checks.items():
        _say(f"{'ok ' if left == right else 'BAD'} {name}: {left:.0f} = {right:.0f}")
    return all(left == right for left, right in checks.values())


# --- killed -------------------------------------------------------------------------------------------


async def _killed(environment: dev.Environment, per_minute: int, seconds: float) -> bool:
    """Load, SIGKILL, start again: what was lost is what waited."""
    running = await _start(environment, "killed")
    posted = await post(running.events, per_minute=per_minute, seconds=seconds, run="two")
    account = await _account(running)
    await _end(running.pid, signal.SIGKILL)
    ends = account["fluvial_alerted_events_total"] - account["fluvial_notifications_waiting"]
    lost = sum(posted.expected.values()) - ends
    _say(
        f"killed after {posted.count} posts: of {sum(posted.expected.values())} messages"
        f" {lost:.0f} lost, {account['fluvial_notifications_waiting']:.0f} waited for services and"
        f" {account['fluvial_received_events_waiting']:.0f} events were not looked at"
    )
    again = await _start(environment, "again")
    repeated = await post(again.events, per_minute=per_minute, seconds=2, run="two")
    after = await _account(again)
    _say(f"after the start: answers {dict(repeated.answers)}; what was told before is told again")
    checks = _checks(repeated, after)
    checks["lost = waited"] = (
        lost,
        account["fluvial_notifications_waiting"],
    )
    await _end(again.pid, signal.SIGTERM)
    return _print_checks(checks)


# --- looking ------------------------------------------------------------------------------------------


async def _account(running: _Running) -> dict[str, float]:
    """The counters, once all events have been looked at."""
    found: dict[str, float] = {}
    async with aiohttp.ClientSession() as http:
        for _ in range(100):
            async with http.get(running.metrics) as answer:
                text = await answer.text()
            found.clear()
            for line in text.splitlines():
                name, _, value = line.rpartition(" ")
                if name.startswith("fluvial_") and "created" not in name and _is_ours(name):
                    found[name] = float(value)
            if not found.get("fluvial_received_events_waiting"):
                return found
            await asyncio.sleep(0.2)
    return found


async def _within(running: _Running, bound: str) -> float:
    """The share of posts that the server itself dealt with within so many seconds."""
    async with aiohttp.ClientSession() as http, http.get(running.metrics) as answer:
        lines = (await answer.text()).splitlines()
    name = "gotk_event_http_request_duration_seconds"
    within = _sum(line for line in lines if f'le="{bound}"' in line and line.startswith(name))
    return within / _sum(line for line in lines if line.startswith(f"{name}_count"))


def _sum(lines: Iterable[str]) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def _is_ours(name: str) -> bool:
    return name.startswith(
        ("fluvial_received_events", "fluvial_alerted_events", "fluvial_notifications")
    )


async def _end(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
    for _ in range(round(_END_SECONDS / _LOOK_SECONDS)):
        if not Path(f"/proc/{pid}").exists():
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise TimeoutError(f"process {pid} did not end")


def _logged(log: Path, message: str) -> list[JsonObject]:
    """The entries of a log with that message."""
    entries = [orjson.loads(line) for line in log.read_bytes().splitlines() if line[:1] == b"{"]
    return [entry for entry in entries if entry.get("msg") == message]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

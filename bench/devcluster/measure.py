"""The measurements, each against one running server; none depends on another but by its objects."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson

from bench.devcluster import objects
from bench.devcluster.figures import Figure, percentile
from bench.devcluster.process import Server, running
from bench.devcluster.wire import Client, Connection, Sent, WatchCounter, drive, watch_all

__all__ = ["Sizes", "measure_server", "measure_starts"]

_CONNECTIONS = 20
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_NAMESPACES = ("bench-a", "bench-b")
_LARGE = 2050  # bytes of an annotation that make a manifest of 3 KB


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done: Deployments stored in all, applies, starts."""

    stored: int = 10_000
    applies: int = 5_000
    starts: int = 5


def measure_starts(folder: Path, sizes: Sizes) -> list[Figure]:
    """From the start of the process until it says that it serves."""
    seconds: list[float] = []
    cpu: list[float] = []
    for number in range(sizes.starts):
        place = folder / f"start-{number}"
        place.mkdir()
        with running(place) as server:
            seconds.append(server.started)
            cpu.append(server.cpu())
        shutil.rmtree(place)
    note = f"p95 {percentile(seconds, 0.95):.2f} s; CPU {statistics.median(cpu):.2f} s; {sizes.starts} starts"
    return [Figure("start until ready, p50", statistics.median(seconds), "s", 1.0, True, note)]


def measure_server(server: Server, sizes: Sizes, say: Callable[[str], None]) -> list[Figure]:
    """Memory, applies and watches, with RBAC on and as a service account."""
    admin = Client(server)
    figures = [Figure("memory, nothing stored", server.pss(), "MiB", note="PSS")]
    user = Client(server, _service_account(admin))
    try:
        say(f"storing {sizes.stored} Deployments")
        figures += _memory(server, user, sizes)
        say(f"{sizes.applies} server-side applies, each with a new image")
        _settle(admin)
        before = _version(admin)
        figures += _applies(server, admin, user, sizes)
        say("watches that go back over these changes")
        changes = _version(admin) - before
        figures += _resumed(server, user, before, changes)
        say("watches of changes that happen")
        figures += _live(server, user, sizes)
        say("storing Deployments of which the manifest alone has 3 KB")
        figures += _large(server, user, sizes)
    finally:
        user.close()
        admin.close()
    return figures


def _service_account(admin: Client) -> str:
    """A token of an account that may edit the namespaces and nothing else."""
    admin.call("POST", "/api/v1/namespaces", {"metadata": {"name": "accounts"}})
    accounts = "/api/v1/namespaces/accounts/serviceaccounts"
    admin.call("POST", accounts, {"metadata": {"name": "deployer"}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    subject = {"kind": "ServiceAccount", "name": "deployer", "namespace": "accounts"}
    for namespace in _NAMESPACES:
        admin.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        binding = {"metadata": {"name": "deployer"}, "roleRef": role, "subjects": [subject]}
        admin.call("POST", f"{_RBAC}/namespaces/{namespace}/rolebindings", binding)
    token = admin.call("POST", f"{accounts}/deployer/token", {"spec": {}})["status"]["token"]
    return str(token)


def _fill(server: Server, user: Client, *, count: int, padding: int = 0) -> Sent:
    half = count // 2
    requests = (
        user.apply(
            objects.path_of(number % half, _NAMESPACES[number // half]),
            objects.deployment(number % half, padding=padding),
        )
        for number in range(half * 2)
    )
    return drive(server, requests, connections=_CONNECTIONS)


def _memory(server: Server, user: Client, sizes: Sizes) -> list[Figure]:
    sent = _fill(server, user, count=sizes.stored)
    stored = len(user.send(user.request("GET", objects.path_of(0, _NAMESPACES[0]))))
    manifest = len(orjson.dumps(objects.deployment(0)))
    note = (
        f"PSS; {stored} bytes of JSON each, {manifest} of them applied;"
        f" created at {sizes.stored / sent.seconds:,.0f}/s"
    )
    name = f"memory, {sizes.stored:,} Deployments stored"
    return [Figure(name, server.pss(), "MiB", 250, True, note)]


def _applies(server: Server, admin: Client, user: Client, sizes: Sizes) -> list[Figure]:
    kept = min(500, sizes.stored // 2)

    def requests(count: int, tag: str) -> list[bytes]:
        return [
            user.apply(
                objects.path_of(number % kept, _NAMESPACES[0]),
                objects.deployment(number % kept, image=f"{tag}.{number}"),
            )
            for number in range(count)
        ]

    drive(server, requests(kept, "1.1"), connections=_CONNECTIONS)
    _settle(admin)
    prepared = requests(sizes.applies, "1.2")
    cpu, version = server.cpu(), _version(admin)
    sent = drive(server, prepared, connections=_CONNECTIONS)
    statuses = _version(admin) - version - sizes.applies
    _settle(admin)
    later = _version(admin) - version - sizes.applies - statuses
    cpu = server.cpu() - cpu
    note = (
        f"p50 {percentile(sent.latencies, 0.5) * 1e3:.1f} ms,"
        f" p95 {percentile(sent.latencies, 0.95) * 1e3:.1f} ms; {_CONNECTIONS} connections;"
        f" client {sent.cpu / sizes.applies * 1e3:.2f} ms CPU each"
    )
    rate = sizes.applies / sent.seconds
    return [
        Figure("server-side applies", rate, "/s", 800, note=note),
        Figure(
            "server CPU for one",
            cpu / sizes.applies * 1e3,
            "ms",
            note=f"with {statuses:,} new statuses meanwhile and {later:,} after it",
        ),
    ]


def _version(client: Client) -> int:
    """The cluster's resourceVersion."""
    page = client.call("GET", "/api/v1/namespaces?limit=1")
    return int(page["metadata"]["resourceVersion"])


def _settle(client: Client) -> None:
    """Until no status is written any more."""
    before = -1
    while before != (now := _version(client)):
        before = now
        time.sleep(0.2)


# --- watches -------------------------------------------------------------------------------------


def _open(
    server: Server, user: Client, *, count: int, namespace: str, version: int
) -> list[WatchCounter]:
    path = f"{objects.collection(namespace)}?watch=1&resourceVersion={version}"
    watches = []
    for _ in range(count):
        connection = Connection(server)
        connection.socket.sendall(user.request("GET", path))
        watches.append(WatchCounter(connection))
    return watches


def _watch_figure(
    name: str, server: Server, sent: Sent, *, counts: tuple[int, int], cpu: float
) -> Figure:
    changes, watchers = counts
    delivered = changes * watchers
    note = (
        f"{changes:,} changes; server {cpu / delivered * 1e6:.0f} µs CPU a delivery,"
        f" {cpu / changes * 1e3:.2f} ms a change; {sent.received / 2**20:,.0f} MiB;"
        f" server PSS {server.pss():.0f} MiB"
    )
    return Figure(
        name, delivered / sent.seconds, "/s", 20_000 if watchers > 1 else 5_000, note=note
    )


def _resumed(server: Server, user: Client, version: int, changes: int) -> list[Figure]:
    """All that happened since an older version, as a client gets it that was away."""
    figures = []
    for watchers in (1, 20):
        cpu = server.cpu()
        watches = _open(server, user, count=watchers, namespace=_NAMESPACES[0], version=version)
        sent = watch_all(watches, events=changes)
        cpu = server.cpu() - cpu
        _close(watches)
        name = f"deliveries to {watchers} resumed watch{'es' if watchers > 1 else ''}"
        figures.append(_watch_figure(name, server, sent, counts=(changes, watchers), cpu=cpu))
    return figures


def _live(server: Server, user: Client, sizes: Sizes) -> list[Figure]:
    """From the request that deletes a whole namespace's Deployments to the last event of each."""
    figures = []
    changes = sizes.stored // 2
    for watchers, namespace in zip((1, 20), _NAMESPACES, strict=True):
        page = user.call("GET", f"{objects.collection(namespace)}?limit=1")
        version = int(page["metadata"]["resourceVersion"])
        watches = _open(server, user, count=watchers, namespace=namespace, version=version)
        deleter = Connection(server)
        request = user.request("DELETE", objects.collection(namespace))
        cpu = server.cpu()
        sent = watch_all(watches, events=changes, trigger=partial(deleter.socket.sendall, request))
        cpu = server.cpu() - cpu
        _close(watches)
        deleter.close()
        name = f"deletions to {watchers} open watch{'es' if watchers > 1 else ''}"
        figures.append(_watch_figure(name, server, sent, counts=(changes, watchers), cpu=cpu))
    return figures


def _close(watches: list[WatchCounter]) -> None:
    for watch in watches:
        watch.connection.close()


def _large(server: Server, user: Client, sizes: Sizes) -> list[Figure]:
    _fill(server, user, count=sizes.stored, padding=_LARGE)
    stored = len(user.send(user.request("GET", objects.path_of(0, _NAMESPACES[0]))))
    note = f"PSS; {stored} bytes of JSON each; after all of the above"
    name = f"memory, {sizes.stored:,} with manifests of 3 KB"
    return [Figure(name, server.pss(), "MiB", note=note)]

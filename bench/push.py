"""``make bench-push``: from ``git push`` to the changed object, woken by the host's webhook.

Git's own post-receive hook plays the host: it posts GitHub's signed payload. The time begins before
the commit is made and pushed, so git's own work is in it; nothing polls, all intervals are an hour.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path

from bench.stats import Table
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.repository import DemoRepository
from fluvial_cli.waiting import ready_condition, wait_for

__all__ = ["measure_pushes"]

_NAMESPACE = "bench"
_TOKEN = "of the benchmark"  # noqa: S105 - there is nothing to guard
_DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
_HOOK = """\
#!{python}
import hashlib, hmac, json, sys, urllib.request
old, new, ref = sys.stdin.readline().split()
body = json.dumps({{"ref": ref, "before": old, "after": new}}).encode()
signature = hmac.new({token!r}, body, hashlib.sha256).hexdigest()
headers = {{
    "Content-Type": "application/json",
    "X-GitHub-Event": "push",
    "X-GitHub-Delivery": new,
    "X-Hub-Signature-256": "sha256=" + signature,
}}
request = urllib.request.Request({url!r}, body, headers, method="POST")
assert urllib.request.urlopen(request, timeout=20).status == 200
"""


async def measure_pushes(
    environment: dev.Environment, repository: DemoRepository, *, pushes: int
) -> None:
    """Push, and wait for the object; print the times."""
    await _receiver(environment, repository)
    table = Table(f"a push of one changed object, {pushes} times", "ms")
    for number in range(pushes):
        image = f"ghcr.io/example/shop:3.0.{number}"

        def edit(text: str, image: str = image) -> str:
            return "".join(
                f"          image: {image}\n" if "ghcr.io/example/shop" in line else line
                for line in text.splitlines(keepends=True)
            )

        started = time.perf_counter()
        await repository.commit(f"Push {number}", {"deploy/frontend.yaml": edit})
        pushed = time.perf_counter()
        await wait_for(
            environment.client,
            _DEPLOYMENTS,
            ObjectKey(_NAMESPACE, "frontend"),
            until=partial(_has_image, image),
        )
        changed = time.perf_counter()
        table.add("commit, push and webhook", (pushed - started) * 1e3)
        table.add("push to object, all of it", (changed - started) * 1e3)
    sys.stdout.write(table.text() + "\n")


def _has_image(image: str, obj: JsonObject) -> bool:
    return bool(obj["spec"]["template"]["spec"]["containers"][0]["image"] == image)


async def _receiver(environment: dev.Environment, repository: DemoRepository) -> None:
    key = ObjectKey(_NAMESPACE, "shop")
    head = {"metadata": {"name": key.name, "namespace": key.namespace}}
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"token": _TOKEN}}
    spec = {
        "type": "github",
        "secretRef": {"name": key.name},
        "resources": [{"kind": "GitRepository", "name": key.name}],
    }
    receiver = {"apiVersion": kinds.RECEIVER.api_version, "kind": "Receiver", "spec": spec}
    client = environment.client
    await client.apply(kinds.SECRET, key, head | secret, field_manager="bench")
    await client.apply(kinds.RECEIVER, key, head | receiver, field_manager="bench")
    ready = await wait_for(
        client,
        kinds.RECEIVER,
        key,
        until=lambda obj: ready_condition(obj).get("status") == "True",
    )
    log = (environment.folder / "logs" / "notification-controller.log").read_bytes()
    line = next(line for line in log.splitlines() if dev.says_ready(line))
    url = f"http://{json.loads(line)['receiverAddr']}{ready['status']['webhookPath']}"
    hook = _bare(repository) / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(_HOOK.format(python=sys.executable, token=_TOKEN.encode(), url=url))
    hook.chmod(0o755)


def _bare(repository: DemoRepository) -> Path:
    return Path(repository.served) / "shop.git"

"""``python -m bench.helm [--renders N]``: time and memory of Helm's engine in its worker."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import statistics
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fluvial.build.helm.lookup import LookupAnswer, LookupQuery
from fluvial.build.helm.model import PostRendering, RenderSpec
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.kube.capabilities import Capabilities
from fluvial.log import get_logger
from fluvial.workers.pool import WorkerPool

_TICKS = os.sysconf("SC_CLK_TCK")
_VERSIONS = tuple(f"group{n}.example.com/v1" for n in range(60))
_MANY = tuple(f"group{n}.example.com/v1{kind}" for n in range(500) for kind in ("", "/Kind"))
_OBJECT = """apiVersion: v1
kind: ConfigMap
metadata:
  name: {{{{ .Release.Name }}}}-{number}
  labels: {{{{- include "labels" . | nindent 4 }}}}
data:
{data}"""
_HELPERS = """{{ define "labels" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.Version | quote }}
{{ end }}"""
_POST = PostRendering(labels={"helm.toolkit.fluxcd.io/name": "app"})
_LOOKUP = '{{ range until 10 }}{{ lookup "v1" "ConfigMap" "default" (print "x" .) }}{{ end }}'


def _chart(objects: int, lines: int, *, lookup: bool = False) -> bytes:
    data = "".join(f'  key{n}: "{{{{ .Values.text | upper }}}} {"x" * 40}"\n' for n in range(lines))
    files = {
        "Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n",
        "values.yaml": "text: hello\n",
        "templates/_helpers.tpl": _HELPERS,
    }
    for number in range(objects):
        files[f"templates/{number}.yaml"] = _OBJECT.format(number=number, data=data)
    if lookup:
        files["templates/lookup.yaml"] = _LOOKUP
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"app/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return target.getvalue()


class _Bench:
    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._renderer = HelmRenderer(pool)
        self._spec = RenderSpec("demo", "default", Capabilities.of_version("v1.33.4", _VERSIONS))

    async def once(self, chart: bytes, *, domain: str = "one", **changes: Any) -> int:
        """Render; bytes of text."""
        rendered = await self._renderer.render(
            chart,
            {"text": "hi"},
            replace(self._spec, **changes),
            timeout=60,
            trust_domain=domain,
            lookup=_look,
        )
        return sum(map(len, rendered.files.values()))

    def worker(self) -> tuple[float, float]:
        """CPU milliseconds so far and resident MiB of the worker."""
        (pid,) = self._pool.pids
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return (int(fields[11]) + int(fields[12])) * 1000 / _TICKS, pss / 1024

    async def case(self, title: str, chart: bytes, times: int, **changes: Any) -> None:
        """Print what one render of a chart takes."""
        size = await self.once(chart, **changes)
        cpu, ours = self.worker()[0], time.process_time()
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            await self.once(chart, **changes)
            taken.append((time.perf_counter() - started) * 1000)
        spent = (self.worker()[0] - cpu) / times
        parent = (time.process_time() - ours) * 1000 / times
        print(
            f"{title}: {size >> 10} KiB, {min(taken):.1f} / {statistics.median(taken):.1f} ms"
            f" (min/med), CPU {spent:.1f} ms in the worker and {parent:.1f} ms in the parent,"
            f" PSS {self.worker()[1]:.0f} MiB"
        )


async def _look(query: LookupQuery) -> LookupAnswer:
    if query.plural:
        body = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound"}
        return LookupAnswer(404, {**body, "code": 404})
    entry = {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": ["get"]}
    return LookupAnswer(
        200, {"kind": "APIResourceList", "groupVersion": query.version, "resources": [entry]}
    )


async def _measure(renders: int, say: Callable[[str], None]) -> None:
    small, large = _chart(3, 10), _chart(115, 90)
    async with engine_pool(log=get_logger("bench"), size=1, keep_spare=False) as pool:
        bench = _Bench(pool)
        for number in range(3):
            started = time.perf_counter()
            await bench.once(small, domain=f"start-{number}")
            cpu, pss = bench.worker()
            say(
                f"start and first render: {time.perf_counter() - started:.2f} s, CPU {cpu:.0f} ms"
                f", PSS {pss:.0f} MiB"
            )
        await bench.case("small chart", small, 100)
        await bench.case("small chart, labels", small, 100, post=_POST)
        await bench.case("small chart, 10 lookups", _chart(3, 10, lookup=True), 30)
        many = Capabilities.of_version("v1.33.4", _MANY)
        await bench.case("small chart, 500 CRDs", small, 100, capabilities=many)
        await bench.case("large chart", large, 10)
        await bench.case("large chart, labels", large, 5, post=_POST)
    async with engine_pool(log=get_logger("bench"), size=1, keep_spare=False) as pool:
        pool._max_jobs = renders + 1  # noqa: SLF001  # one process, to see whether it grows
        bench = _Bench(pool)
        for number in range(1, renders + 1):
            await bench.once(small, domain="leak", post=_POST)
            if number in {1, 100, renders // 2, renders}:
                say(f"after {number} renders: PSS {bench.worker()[1]:.1f} MiB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.helm", description=__doc__)
    parser.add_argument("--renders", type=int, default=1000, help="of the search for leaks")
    asyncio.run(_measure(parser.parse_args().renders, print))


if __name__ == "__main__":
    main()

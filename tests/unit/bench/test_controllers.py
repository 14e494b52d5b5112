"""Controllers as data."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench.load.controllers import load_set, start
from bench.load.placeholders import BadData

from fluvial_cli.processes import ChildFailed, Processes

SERVER = """
import http.server, pathlib, sys
print('starting', flush=True)
pathlib.Path(sys.argv[1], 'seen').write_text(sys.argv[2] + ' ' + __import__('os').environ['MODE'])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(('127.0.0.1', int(sys.argv[3])), Handler).serve_forever()
"""


def write(folder: Path, code: str) -> str:
    (folder / "program.py").write_text(code)
    file = folder / "peers.yaml"
    file.write_text(
        f"""
name: peers
notes: [a setting]
controllers:
  - name: peer
    agent: peer/
    concurrent: {{Kustomization: 7}}
    argv: [$(python), {folder}/program.py, $(folder), $(kubeconfig), "$(port:health)"]
    env: {{MODE: "on-$(port:health)"}}
    ready: http://127.0.0.1:$(port:health)/readyz
    metrics: http://127.0.0.1:$(port:metrics)/metrics
"""
    )
    return str(file)


def test_our_own_controllers_are_a_set_like_any_other() -> None:
    ours = load_set("fluvial")

    assert [one.name for one in ours.controllers] == ["source-controller", "kustomize-controller"]
    assert ours.crds is None
    assert (ours.concurrency("GitRepository"), ours.concurrency("Kustomization")) == (10, 20)
    assert ours.agents["source-controller"] == "source-controller"


def test_a_file_anywhere_is_a_set(tmp_path: Path) -> None:
    peers = load_set(write(tmp_path, ""))

    assert peers.name == "peers"
    assert peers.agents == {"peer": "peer/"}
    assert peers.concurrency("Kustomization") == 7
    assert peers.concurrency("GitRepository", default=3) == 3


def test_unknown_controllers_are_refused_with_the_known_ones() -> None:
    with pytest.raises(BadData, match="give a file, or one of fluvial"):
        load_set("nothing")


def test_a_file_that_is_no_set_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text("name: odd\ncontrollers: [{name: a}]\n")

    with pytest.raises(BadData, match=r"odd\.yaml is no set of controllers"):
        load_set(str(file))


async def test_a_controller_is_started_with_its_own_folder_and_ports(tmp_path: Path) -> None:
    peers = load_set(write(tmp_path, SERVER))
    async with Processes() as processes:
        (started,) = await start(
            peers, processes=processes, kubeconfig=tmp_path / "kubeconfig", folder=tmp_path / "run"
        )
        seen = (tmp_path / "run" / "peer" / "seen").read_text()

        assert started.name == "peer"
        assert started.pid in processes.pids().values()
        assert seen.startswith(str(tmp_path / "kubeconfig"))
        assert seen.rpartition(" ")[2].startswith("on-")
        assert started.metrics.startswith("http://127.0.0.1:")
        assert seen.rpartition("-")[2] not in started.metrics


async def test_a_controller_that_ends_is_told_with_its_last_lines(tmp_path: Path) -> None:
    peers = load_set(write(tmp_path, "print('no such flag', flush=True); raise SystemExit(2)"))
    async with Processes() as processes:
        with pytest.raises(ChildFailed, match="no such flag"):
            await start(
                peers,
                processes=processes,
                kubeconfig=Path(sys.prefix),
                folder=tmp_path / "run",
            )

"""The Dockerfile and the chart speak of the same controllers, and of files that there are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
LINES = [line.split() for line in (ROOT / "Dockerfile").read_text().splitlines() if line.strip()]


def test_each_controller_of_the_chart_has_a_target() -> None:
    values = yaml.safe_load((ROOT / "charts/fluvial/values.yaml").read_text())
    images = {
        part["image"]
        for part in values.values()
        if isinstance(part, dict) and "enabled" in part and "image" in part
    }
    targets = {line[3] for line in LINES if line[0] == "FROM" and len(line) == 4}

    assert images == {f"fluvial/{name}" for name in targets if name.endswith("-controller")}


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = {line[1] for line in LINES if line[0] == "COPY" and not line[1].startswith("--")}
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }

    assert copied == kept
    assert all((ROOT / path).exists() for path in copied)


def test_the_program_of_each_image_is_installed() -> None:
    for line in LINES:
        if line[0] == "ENTRYPOINT":
            (name,) = re.findall(r'"([^"]+)"', " ".join(line[1:]))
            assert f"{name} = " in (ROOT / name / "pyproject.toml").read_text()


def test_versions_agree() -> None:
    chart = yaml.safe_load((ROOT / "charts/fluvial/Chart.yaml").read_text())
    for name in (
        "source-controller",
        "kustomize-controller",
        "helm-controller",
        "notification-controller",
    ):
        module = name.replace("-", "_")
        app = (ROOT / name / "src" / module / "app.py").read_text()

        assert f'VERSION = "{chart["appVersion"]}"' in app

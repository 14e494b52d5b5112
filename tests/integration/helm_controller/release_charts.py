"""The chart that most tests of HelmReleases release, in versions."""

from __future__ import annotations

from typing import Final

import pytest

from harness.charts import chart

__all__ = ["MAP", "ON_DEVCLUSTER", "app_chart", "hook", "job", "pod_hook", "web"]

ON_DEVCLUSTER = pytest.mark.parametrize("world", ["devcluster"], indirect=True)
"""For tests whose way with the API server is asked of the real one by others."""

MAP: Final = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data:
  greeting: {{ .Values.greeting | quote }}
  version: {{ .Chart.Version | quote }}
"""
_VALUES: Final = "greeting: hello\nimage: example.com/web:1\n"


def web(name: str = "web") -> str:
    """A Deployment whose image is a value."""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: main, image: {{{{ .Values.image | quote }}}}}}]}}
"""


def job(name: str, *, fails: bool = False, hangs: bool = False, **annotations: str) -> str:
    """A Job as both control planes' stand-ins for kubelets know it.

    Args:
        name: its name.
        fails: its pod fails.
        hangs: its pod never runs.
        annotations: ``helm.sh/<key>``, with underlines for dashes.

    """
    marks = {f"helm.sh/{key.replace('_', '-')}": text for key, text in annotations.items()}
    health, labels = _health(fails=fails, hangs=hangs)
    marks |= health
    return f"""\
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, annotations: {_flow(marks)}}}
spec:
  backoffLimit: 0
  template:
    metadata: {{labels: {_flow(labels)}}}
    spec: {{restartPolicy: Never, containers: [{{name: c, image: example.com/c:1}}]}}
"""


def hook(name: str, event: str, *, fails: bool = False, hangs: bool = False) -> str:
    """A Job that is a hook."""
    return job(name, fails=fails, hangs=hangs, hook=event)


def pod_hook(name: str, event: str, *, fails: bool = False, hangs: bool = False) -> str:
    """A Pod that is a hook: the real control plane is slower to see that a Job has ended."""
    health, labels = _health(fails=fails, hangs=hangs)
    return f"""\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations: {_flow({"helm.sh/hook": event, **health})}
  labels: {_flow(labels)}
spec: {{restartPolicy: Never, containers: [{{name: c, image: example.com/c:1}}]}}
"""


def _health(*, fails: bool, hangs: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Annotations for devcluster's stand-in, labels of pods for the real control plane's."""
    if fails:
        return {"devcluster.fluvial.dev/health": "fail"}, {"fluvial.dev/fail": "1"}
    if hangs:
        return {"devcluster.fluvial.dev/health": "never"}, {"fluvial.dev/stay-pending": "1"}
    return {}, {}


def app_chart(version: str = "1.0.0", **files: str) -> bytes:
    """A chart with a ConfigMap, a Deployment and these templates instead or besides.

    Args:
        version: of the chart.
        files: templates by name, without suffix; others by path, ``__`` for ``/``.

    """
    templates = {"settings": MAP, "web": web(), **files}
    given = {
        name if "__" in name or "." in name else f"templates__{name}": text
        for name, text in templates.items()
        if text
    }
    return chart(version=version, **{"values.yaml": _VALUES, **given})


def _flow(texts: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{key}": "{text}"' for key, text in texts.items()) + "}"

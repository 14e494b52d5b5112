"""The chart of the HelmRelease workload, in our own words, at the size of flux-benchmark's podinfo.

Four objects come of it by the workload's values; nineteen more templates are rendered to nothing,
and files that no template reads are stored with each release, as there.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from fluvial.objects import JsonObject

__all__ = ["NAME", "VERSION", "chart_files", "rendered_objects"]

NAME: Final = "podinfo"
VERSION: Final = "6.5.3"
_OPTIONAL: Final = 19
_TEXT: Final = 11_000  # bytes of a licence
_HELPERS: Final = """\
{{- define "podinfo.fullname" -}}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{- end -}}
{{- define "podinfo.selector" -}}
app.kubernetes.io/name: {{ include "podinfo.fullname" . }}
{{- end -}}
{{- define "podinfo.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{ include "podinfo.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
"""
_HEAD: Final = """\
metadata:
  name: {{ include "podinfo.fullname" . }}
  labels: {{- include "podinfo.labels" . | nindent 4 }}
"""
_ACCOUNT: Final = f"""\
{{{{- if .Values.serviceAccount.enabled }}}}
apiVersion: v1
kind: ServiceAccount
{_HEAD}{{{{- end }}}}
"""
_SERVICE: Final = f"""\
apiVersion: v1
kind: Service
{_HEAD}spec:
  type: {{{{ .Values.service.type }}}}
  selector: {{{{- include "podinfo.selector" . | nindent 4 }}}}
  ports:
  {{{{- range .Values.service.ports }}}}
    - {{{{ toYaml . | nindent 6 | trim }}}}
  {{{{- end }}}}
"""
_DEPLOYMENT: Final = f"""\
apiVersion: apps/v1
kind: Deployment
{_HEAD}spec:
  replicas: {{{{ .Values.replicaCount }}}}
  minReadySeconds: {{{{ .Values.minReadySeconds }}}}
  selector:
    matchLabels: {{{{- include "podinfo.selector" . | nindent 6 }}}}
  template:
    metadata:
      labels: {{{{- include "podinfo.selector" . | nindent 8 }}}}
      annotations: {{prometheus.io/scrape: "true", prometheus.io/port: "9898"}}
    spec:
      terminationGracePeriodSeconds: 30
      serviceAccountName: {{{{ include "podinfo.fullname" . }}}}
      containers:
        - name: podinfo
          image: "{{{{ .Values.image.repository }}}}:{{{{ .Values.image.tag }}}}"
          command: [./podinfo, --port=9898, "--level={{{{ .Values.logLevel }}}}"]
          env: [{{name: PODINFO_UI_COLOR, value: {{{{ .Values.ui.color | quote }}}}}}]
          ports:
          {{{{- range .Values.service.ports }}}}
            - {{name: {{{{ .name }}}}, containerPort: {{{{ .port }}}}, protocol: TCP}}
          {{{{- end }}}}
          livenessProbe: {{{{- toYaml .Values.probes.liveness | nindent 12 }}}}
          readinessProbe: {{{{- toYaml .Values.probes.readiness | nindent 12 }}}}
          volumeMounts: [{{name: data, mountPath: /data}}]
          resources: {{{{- toYaml .Values.resources | nindent 12 }}}}
      volumes: [{{name: data, emptyDir: {{}}}}]
"""
_INGRESS: Final = f"""\
{{{{- if .Values.ingress.enabled }}}}
apiVersion: networking.k8s.io/v1
kind: Ingress
{_HEAD}spec:
  ingressClassName: {{{{ .Values.ingress.className }}}}
  rules:
    - host: {{{{ .Values.ingress.host }}}}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service: {{name: {{{{ include "podinfo.fullname" . }}}}, port: {{number: 9898}}}}
{{{{- end }}}}
"""
_VALUES: Final = """\
replicaCount: 1
minReadySeconds: 3
logLevel: info
image: {repository: registry.example.com/podinfo, tag: 6.5.3}
ui: {color: "#34577c"}
serviceAccount: {enabled: false}
service:
  type: ClusterIP
  ports: [{name: http, port: 9898}, {name: grpc, port: 9999}]
ingress: {enabled: false, className: "", host: podinfo.local}
probes:
  liveness: {initialDelaySeconds: 1, timeoutSeconds: 5, exec: {command: [podcli, check, http]}}
  readiness: {initialDelaySeconds: 1, timeoutSeconds: 5, exec: {command: [podcli, check, ready]}}
resources: {requests: {cpu: 1m, memory: 16Mi}}
extras: {enabled: false}
"""


def chart_files() -> dict[str, str]:
    """The files of the chart, by their path in it."""
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: {NAME}\nversion: {VERSION}\nappVersion: {VERSION}\n",
        "values.yaml": _VALUES + _comments(6_500),
        "values-prod.yaml": _VALUES + _comments(4_000),
        "LICENSE": _comments(_TEXT),
        "templates/_helpers.tpl": _HELPERS,
        "templates/serviceaccount.yaml": _ACCOUNT,
        "templates/service.yaml": _SERVICE,
        "templates/deployment.yaml": _DEPLOYMENT,
        "templates/ingress.yaml": _INGRESS,
        "templates/NOTES.txt": "Ask {{ .Values.ingress.host }} whether all is well.\n",
    }
    for number in range(_OPTIONAL):
        files[f"templates/extra/{number}.yaml"] = _optional(number)
    return files


def rendered_objects(name: str, namespace: str, *, mcpu: str) -> tuple[JsonObject, ...]:
    """What the workload's values make of it, for a release of a name."""
    selector = {"app.kubernetes.io/name": name}
    labels = {
        "helm.sh/chart": f"{NAME}-{VERSION}",
        **selector,
        "app.kubernetes.io/version": VERSION,
        "app.kubernetes.io/managed-by": "Helm",
    }
    ports = (("http", 9898), ("grpc", 9999))

    def obj(api_version: str, kind: str, **fields: Any) -> JsonObject:
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}

    backend = {"service": {"name": name, "port": {"number": 9898}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    service = {
        "type": "ClusterIP",
        "selector": selector,
        "ports": [{"name": one, "port": number} for one, number in ports],
    }
    deployment = {
        "replicas": 0,
        "minReadySeconds": 3,
        "selector": {"matchLabels": selector},
        "template": {"metadata": _pod_metadata(selector), "spec": _pod(name, ports, mcpu)},
    }
    rules = [{"host": "podinfo.local", "http": {"paths": [path]}}]
    return (
        obj("v1", "ServiceAccount"),
        obj("v1", "Service", spec=service),
        obj("apps/v1", "Deployment", spec=deployment),
        obj("networking.k8s.io/v1", "Ingress", spec={"ingressClassName": "nginx", "rules": rules}),
    )


def _pod_metadata(selector: JsonObject) -> JsonObject:
    notes = {"prometheus.io/scrape": "true", "prometheus.io/port": "9898"}
    return {"labels": selector, "annotations": notes}


def _pod(name: str, ports: tuple[tuple[str, int], ...], mcpu: str) -> JsonObject:
    container = {
        "name": "podinfo",
        "image": f"registry.example.com/podinfo:{VERSION}",
        "command": ["./podinfo", "--port=9898", "--level=info"],
        "env": [{"name": "PODINFO_UI_COLOR", "value": "#34577c"}],
        "ports": [{"name": one, "containerPort": port, "protocol": "TCP"} for one, port in ports],
        "livenessProbe": _probe("http"),
        "readinessProbe": _probe("ready"),
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "resources": {"requests": {"cpu": mcpu, "memory": "16Mi"}},
    }
    return {
        "terminationGracePeriodSeconds": 30,
        "serviceAccountName": name,
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }


def _probe(what: str) -> JsonObject:
    command = {"command": ["podcli", "check", what]}
    return {"initialDelaySeconds": 1, "timeoutSeconds": 5, "exec": command}


def _optional(number: int) -> str:
    """A template of which nothing comes."""
    lines = "".join(
        f"  key{line}: {{{{ .Values.extras.text | default {line} | quote }}}}\n"
        for line in range(16)
    )
    return (
        "{{- if .Values.extras.enabled }}\napiVersion: v1\nkind: ConfigMap\nmetadata:\n"
        f'  name: {{{{ include "podinfo.fullname" . }}}}-{number}\n'
        f'  labels: {{{{- include "podinfo.labels" . | nindent 4 }}}}\ndata:\n{lines}{{{{- end }}}}\n'
    )


def _comments(size: int) -> str:
    """Text that packs about as well as prose does, the same each time."""
    words = (hashlib.sha256(str(number).encode()).hexdigest()[:18] for number in range(size // 26))
    lines = [f"# the {word} of" for word in words]
    return "\n".join(lines) + "\n"

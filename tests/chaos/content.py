"""What the repository of the chaos tests holds: two versions of one set of objects.

``${case}`` becomes the name of the case, so one repository serves cases that share a cluster;
``${health}`` steers devcluster's stand-in for the Deployment controller.
From v1 to v2 one object changes (``settings``), one is added (``added``), one is no longer
wanted (``token``), and one is no longer wanted but belongs to somebody else by then (``handed``).
v3 is v1 with a Deployment that can only be had by making it again.
"""

from __future__ import annotations

__all__ = ["VERSIONS"]

_CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.${case}.chaos.example.com
spec:
  group: ${case}.chaos.example.com
  scope: Namespaced
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                size: {type: integer}
"""
_WIDGET = """\
apiVersion: ${case}.chaos.example.com/v1
kind: Widget
metadata: {name: one, namespace: "${case}"}
spec: {size: 3}
"""
_NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata: {name: "${case}-extra"}
"""
_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: "${case}"
  annotations: {devcluster.fluvial.dev/health: "${health}"}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
        - {name: web, image: "ghcr.io/example/web:1.0.0", ports: [{containerPort: 8080}]}
"""
_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: "${case}"}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
_ACCOUNT = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: "${case}"}
"""
_SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: "${case}"}
stringData: {token: not-a-secret}
"""


def _config_map(name: str, value: str, namespace: str = "${case}") -> str:
    return f"""\
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, namespace: "{namespace}"}}
data: {{value: "{value}"}}
"""


_COMMON: dict[str, str | None] = {
    "deploy/crd.yaml": _CRD,
    "deploy/widget.yaml": _WIDGET,
    "deploy/namespace.yaml": _NAMESPACE,
    "deploy/deployment.yaml": _DEPLOYMENT,
    "deploy/service.yaml": _SERVICE,
    "deploy/account.yaml": _ACCOUNT,
    "deploy/extra.yaml": _config_map("extra", "far away", "${case}-extra"),
}

V1: dict[str, str | None] = {
    **_COMMON,
    "deploy/settings.yaml": _config_map("settings", "one in ${region}"),
    "deploy/secret.yaml": _SECRET,
    "deploy/handed.yaml": _config_map("handed", "whose?"),
}
"""Files of the first commit: ten objects in three stages."""

V2: dict[str, str | None] = {
    "deploy/settings.yaml": _config_map("settings", "two in ${region}"),
    "deploy/added.yaml": _config_map("added", "new"),
    "deploy/secret.yaml": None,
    "deploy/handed.yaml": None,
}
"""What the second commit changes."""

V3: dict[str, str | None] = {
    **V1,
    "deploy/added.yaml": None,
    "deploy/deployment.yaml": _DEPLOYMENT.replace(
        "annotations: {", "annotations: {kustomize.toolkit.fluxcd.io/force: enabled, "
    ).replace("app: web", "app: site"),
}
"""What the third commit, on top of the second, changes."""

VERSIONS = {"v1": V1, "v2": V2, "v3": V3}
"""The commits, each on top of the one before."""

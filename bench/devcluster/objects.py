"""What is stored and changed: Deployments of about 3 KB as the server keeps them."""

from __future__ import annotations

from typing import Any

__all__ = ["NAMESPACE", "collection", "deployment", "path_of"]

NAMESPACE = "bench"
_GROUP = "/apis/apps/v1"


def collection(namespace: str = NAMESPACE) -> str:
    """Where the Deployments of a namespace are."""
    return f"{_GROUP}/namespaces/{namespace}/deployments"


def path_of(number: int, namespace: str = NAMESPACE) -> str:
    """Where one of them is."""
    return f"{collection(namespace)}/{_name(number)}"


def _name(number: int) -> str:
    return f"service-{number:05d}"


def deployment(number: int, *, image: str = "1.0.0", padding: int = 0) -> dict[str, Any]:
    """A Deployment as a team writes it: one container with ports, probes, variables and limits.

    Args:
        number: makes its name and labels.
        image: the tag of the container's image.
        padding: bytes of an annotation, for larger ones.

    """
    name = _name(number)
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop"}
    annotations = {"example.com/team": "payments"}
    if padding:
        annotations["example.com/note"] = "x" * padding
    probe = {"path": "/healthz", "port": "http"}
    container = {
        "name": "app",
        "image": f"registry.example.com/shop/{name}:{image}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [
            {"name": "LOG_LEVEL", "value": "info"},
            {"name": "DATABASE_HOST", "value": "db.shop.svc.cluster.local"},
            {"name": "REGION", "value": "eu-central-1"},
        ],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "256Mi"},
        },
        "readinessProbe": {"httpGet": probe},
        "livenessProbe": {"httpGet": probe},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }

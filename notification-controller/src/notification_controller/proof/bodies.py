"""Callers that sign nothing: the address is the secret, and the body must be of their shape.

Docker Hub: https://docs.docker.com/docker-hub/repos/manage/webhooks/, Quay:
https://docs.quay.io/guides/notifications.html, Azure Container Registry:
https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference,
CDEvents: https://cdevents.dev/docs/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from notification_controller.proof.call import Call, Refused

__all__ = ["check_acr", "check_cdevent", "check_dockerhub", "check_quay"]

# The subjects of CDEvents 0.4.
_SUBJECTS = (
    "artifact|branch|build|change|environment|incident|pipelinerun|repository|service|taskrun"
    "|testcaserun|testoutput|testsuiterun|ticket"
)
_EVENT_TYPE = re.compile(rf"dev\.cdevents\.({_SUBJECTS})\.[a-z]+\.[0-9]+\.[0-9]+\.[0-9]+(-draft)?")
_CONTEXT = ("version", "id", "source", "type", "timestamp")


def check_dockerhub(call: Call) -> None:
    """A push to a repository of Docker Hub.

    Raises:
        Refused: it is none.

    """
    body = _object(call.json(), "the body")
    _text(_object(body.get("push_data"), "push_data").get("tag"), "push_data.tag")
    _text(_object(body.get("repository"), "repository").get("repo_url"), "repository.repo_url")


def check_quay(call: Call) -> None:
    """A push to a repository of Quay.

    Raises:
        Refused: it is none.

    """
    body = _object(call.json(), "the body")
    _text(body.get("docker_url"), "docker_url")
    tags = body.get("updated_tags")
    # Older versions send a mapping of tags to images.
    if not isinstance(tags, list | dict) or not all(isinstance(tag, str) for tag in tags):
        raise Refused("updated_tags is not a list of texts")


def check_acr(call: Call) -> None:
    """An event of an Azure Container Registry.

    Raises:
        Refused: it is none.

    """
    body = _object(call.json(), "the body")
    _text(body.get("action"), "action")
    target = body.get("target")
    if target is not None:
        _object(target, "target")


def check_cdevent(call: Call) -> None:
    """An event of CDEvents 0.4, by its type and the required parts of context and subject.

    Raises:
        Refused: it is none.

    """
    body = _object(call.json(), "the body")
    context = _object(body.get("context"), "context")
    for name in _CONTEXT:
        _text(context.get(name), f"context.{name}")
    found = _EVENT_TYPE.fullmatch(context["type"])
    if found is None:
        raise Refused("context.type is not a type of CDEvents")
    subject = _object(body.get("subject"), "subject")
    _text(subject.get("id"), "subject.id")
    _object(subject.get("content"), "subject.content")
    kind = subject.get("type")
    if kind is not None and str(kind).lower() != found[1]:
        raise Refused("subject.type is not that of context.type")


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{name} is not an object")
    return value


def _text(value: Any, name: str) -> None:
    if not isinstance(value, str) or not value:
        raise Refused(f"{name} is not a text")

"""Requests are counted from an audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from bench.load.audit import AuditLog, Counted, Request, count, read_request

AGENTS = {"kustomize-controller": "kustomize-controller", "other": "kustomize-controller-two"}


def event(uri: str, verb: str = "patch", **more: Any) -> dict[str, Any]:
    return {
        "stage": "ResponseComplete",
        "requestURI": uri,
        "verb": verb,
        "userAgent": "kustomize-controller/0.1.0",
        "responseStatus": {"code": 200},
        **more,
    }


@pytest.mark.parametrize(
    ("uri", "verb", "expected"),
    [
        pytest.param("/apis/apps/v1/x?fieldManager=m", "patch", "patch", id="merge patch"),
        pytest.param("/apis/apps/v1/x?fieldManager=m&force=true", "patch", "apply", id="apply"),
        pytest.param("/apis/apps/v1/x?force=true&dryRun=All", "patch", "dry-run", id="dry run"),
        pytest.param("/apis/apps/v1/x?dryRun=All", "delete", "dry-run", id="dry-run delete"),
        pytest.param("/apis/apps/v1/x?limit=500", "list", "list", id="list"),
    ],
)
def test_the_verb_tells_applies_and_dry_runs(uri: str, verb: str, expected: str) -> None:
    assert read_request(event(uri, verb)).verb == expected


def test_resource_subresource_and_identity_are_read() -> None:
    ref = {"resource": "kustomizations", "subresource": "status", "namespace": "a", "name": "b"}

    request = read_request(event("/x", objectRef=ref, impersonatedUser={"username": "u"}))

    assert (request.resource, request.tenant) == ("kustomizations/status", True)


def test_what_is_no_resource_is_counted_by_its_first_part() -> None:
    assert read_request(event("/openapi/v3/apis/apps", "get")).resource == "/openapi"


def test_only_what_was_appended_is_read_and_half_a_line_waits(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    log = AuditLog(file)
    line = orjson.dumps(event("/version", "get")) + b"\n"

    assert log.news() == []
    file.write_bytes(line + line[:20])
    assert len(log.news()) == 1
    with file.open("ab") as out:
        out.write(line[20:])
    assert len(log.news()) == 1
    assert log.news() == []


def test_a_request_that_is_not_answered_yet_is_not_counted(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(orjson.dumps(event("/x", stage="ResponseStarted")) + b"\n")

    assert AuditLog(file).news() == []


def test_requests_are_counted_by_controller_verb_resource_and_identity() -> None:
    def made(agent: str, code: int = 200, *, tenant: bool = False) -> Request:
        return Request(agent, "apply", "services", tenant, code)

    counted = count(
        [
            made("kustomize-controller/1", tenant=True),
            made("kustomize-controller/1", 409, tenant=True),
            made("kustomize-controller/1"),
            made("kustomize-controller-two/1"),
            made("kube-controller-manager/v1"),
        ],
        AGENTS,
    )

    assert counted == (
        Counted("kustomize-controller", "apply", "services", tenant=False, count=1),
        Counted("kustomize-controller", "apply", "services", tenant=True, count=2, failed=1),
        Counted("other", "apply", "services", tenant=False, count=1),
    )

"""Only what can never change is a reason to recreate."""

from __future__ import annotations

from typing import Any

import pytest

from fluvial.apply import FailureReason, Masker
from fluvial.apply.errors import Failure, summarise_failures
from fluvial.apply.failures import failure_of
from fluvial.apply.immutable import is_immutable, is_replaced
from fluvial.kube.discovery import NoMatch
from fluvial.kube.errors import ApiError, Unreachable, error_from_status
from fluvial.kube.urls import UnsafeName
from fluvial.objects import GroupVersionKind, ObjectRef

REF = ObjectRef("apps", "Deployment", "n", "d")


def _invalid(*causes: tuple[str, str]) -> ApiError:
    rows = [{"field": field, "message": message} for field, message in causes]
    details: dict[str, Any] = {"name": "d", "kind": "Deployment", "causes": rows}
    message = "; ".join(f"{field}: {text}" for field, text in causes)
    return error_from_status(422, {"reason": "Invalid", "message": message, "details": details})


IMMUTABLE = [
    ("spec.selector", 'Invalid value: {"matchLabels":{"a":"2"}}: field is immutable'),
    ("spec.clusterIPs[0]", 'Invalid value: ["10.0.0.77"]: may not change once set'),
    ("data", "Forbidden: field is immutable when `immutable` is set"),
    ("roleRef", 'Invalid value: {"Name":"edit"}: cannot change roleRef'),
    ("value", "Forbidden: may not be changed in an update."),
    ("parameters", "Forbidden: updates to parameters are forbidden."),
    (
        "spec",
        "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
    ),
    ("spec", "Forbidden: pod updates may not change fields other than `image`"),
    ("spec", "Forbidden: spec is immutable after creation except resources.requests"),
    ("spec.size", 'Invalid value: "integer": size is immutable'),
]


@pytest.mark.parametrize("cause", IMMUTABLE, ids=lambda cause: cause[1][:40])
def test_immutable(cause: tuple[str, str]) -> None:
    assert is_immutable(_invalid(cause))


@pytest.mark.parametrize(
    "causes",
    [
        [("spec.replicas", "Invalid value: -1: must be greater than or equal to 0")],
        [IMMUTABLE[0], ("spec.replicas", "Invalid value: -1: must be positive")],
        [("metadata.labels", 'Invalid value: "field is immutable": not a label')],
        [("spec.x", 'Invalid value: "a: field is immutable": must be short')],
        [("spec.x", 'Unsupported value: "immutable": supported values: "a", "b"')],
        [("metadata.uid", 'Invalid value: "x": field is immutable')],
        [("spec.x", "Required value")],
        [],
    ],
    ids=["range", "both", "label", "echo", "enum", "uid", "required", "no causes"],
)
def test_not_immutable(causes: list[tuple[str, str]]) -> None:
    assert not is_immutable(_invalid(*causes))


@pytest.mark.parametrize(
    ("status", "reason", "message", "expected"),
    [
        (409, "Conflict", "the object has been modified", False),
        (409, "AlreadyExists", "already exists", False),
        (403, "Forbidden", 'User "immutable" cannot patch', False),
        (403, "Forbidden", 'admission webhook "w" denied the request: size is immutable', True),
        (
            403,
            "Forbidden",
            'admission webhook "w" denied the request: Invalid value: "immutable": bad',
            False,
        ),
        (500, "InternalError", "admission webhook: field is immutable", False),
    ],
)
def test_texts_without_causes(status: int, reason: str, message: str, *, expected: bool) -> None:
    error = error_from_status(status, {"reason": reason, "message": message})

    assert is_immutable(error) is expected


def test_another_object_under_the_name_is_no_immutable_change() -> None:
    assert is_replaced(_invalid(("metadata.uid", 'Invalid value: "x": field is immutable')))
    gone = "uid mismatch: the provided object specified uid x, and no existing object was found"
    assert is_replaced(error_from_status(409, {"reason": "Conflict", "message": gone}))
    assert not is_replaced(_invalid(IMMUTABLE[0]))


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (
            error_from_status(
                404,
                {
                    "reason": "NotFound",
                    "message": 'namespaces "n" not found',
                    "details": {"name": "n", "kind": "namespaces"},
                },
            ),
            FailureReason.NAMESPACE_NOT_FOUND,
            "Deployment/n/d namespace not found: create Namespace 'n'",
        ),
        (
            NoMatch(GroupVersionKind("x.io", "v1", "Foo")),
            FailureReason.KIND_NOT_FOUND,
            'dry-run failed (KindNotFound): no matches for kind "Foo" in version "x.io/v1"',
        ),
        (
            error_from_status(404, None),
            FailureReason.KIND_NOT_FOUND,
            "install its CustomResourceDefinition first",
        ),
        (
            error_from_status(
                500, {"message": "failed to create typed patch object (a): .x: expected string"}
            ),
            FailureReason.INVALID,
            "dry-run failed (Invalid): failed to create typed patch object",
        ),
        (
            error_from_status(500, {"message": 'failed calling webhook "w": timeout'}),
            FailureReason.WEBHOOK,
            "failed calling webhook",
        ),
        (Unreachable("connection refused"), FailureReason.UNREACHABLE, "connection refused"),
        (UnsafeName("name", "..", "no"), FailureReason.INVALID, "invalid name '..'"),
        (
            error_from_status(401, {"reason": "Unauthorized", "message": "Unauthorized"}),
            FailureReason.UNAUTHORIZED,
            "(Unauthorized)",
        ),
        (_invalid(IMMUTABLE[0]), FailureReason.IMMUTABLE, "set spec.force"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_failures_say_what_and_what_to_do(
    error: ApiError, reason: FailureReason, text: str
) -> None:
    failure = failure_of(REF, error, masker=Masker(), during="dry-run")

    assert failure.reason is reason
    assert failure.message.startswith("Deployment/n/d ")
    assert text in failure.message


def test_messages_are_bounded() -> None:
    failures = [Failure(REF, FailureReason.OTHER, "x" * 5000) for _ in range(50)]
    text = summarise_failures(failures)

    assert len(text) < 21_000
    assert text.endswith("and 30 more objects")

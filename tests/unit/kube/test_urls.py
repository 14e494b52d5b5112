"""No word from an object leaves its URL segment."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote

import pytest
import yarl
from hypothesis import example, given
from hypothesis import strategies as st

from fluvial.kube.resource import Resource
from fluvial.kube.urls import (
    UnsafeName,
    collection_path,
    group_version_path,
    object_path,
    query_string,
    segment,
    service_account_user,
)
from fluvial.objects import ObjectKey

SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)
NASTY = st.sampled_from(["..", ".", "/", "%2e%2e", "%2F", "\\", "?", "#", "\r\n", "x", ";", ":"])
TEXT = st.one_of(ANY_TEXT, st.lists(NASTY, max_size=6).map("".join))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../kube-system/secrets/x",
        "a/b",
        "a%2fb",
        "%2e%2e",
        "a\\b",
        "a?watch=1",
        "a#b",
        "a\nb",
        "a\0b",
        "a\x85b",
        "\ud800",
    ],
)
def test_a_name_that_could_leave_its_segment_is_refused(name: str) -> None:
    with pytest.raises(UnsafeName, match="invalid name") as caught:
        object_path(SECRETS, ObjectKey("default", name))

    assert caught.value.field == "name"


@pytest.mark.parametrize("field", ["namespace", "name", "plural", "group", "version"])
def test_every_field_is_checked_and_named(field: str) -> None:
    parts = {"group": "g", "version": "v1", "plural": "ps", "namespace": "ns", "name": "n"}
    parts[field] = "../x"
    resource = Resource(parts["group"], parts["version"], parts["plural"], "P", namespaced=True)

    with pytest.raises(UnsafeName) as caught:
        object_path(resource, ObjectKey(parts["namespace"], parts["name"]))

    assert caught.value.field == field


def test_a_namespaced_object_needs_a_namespace() -> None:
    with pytest.raises(UnsafeName, match="namespace"):
        object_path(SECRETS, ObjectKey("", "x"))


def test_paths() -> None:
    deployments = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)

    assert object_path(deployments, ObjectKey("ns", "web"), "status") == (
        "/apis/apps/v1/namespaces/ns/deployments/web/status"
    )
    assert collection_path(deployments) == "/apis/apps/v1/deployments"
    assert object_path(NAMESPACES, ObjectKey("ignored", "ns")) == "/api/v1/namespaces/ns"
    assert group_version_path("", "v1") == "/api/v1"


def test_role_names_keep_their_colons() -> None:
    roles = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False)

    assert object_path(roles, ObjectKey("", "system:node")).endswith("/system:node")


@given(TEXT)
@example("..")
@example("%2e%2e%2f")
def test_whatever_is_accepted_stays_one_segment(value: str) -> None:
    try:
        part = segment(value, "name")
    except UnsafeName as error:
        str(error).encode("ascii")
        return

    url = yarl.URL(f"https://h/a/{part}/b", encoded=True)
    assert unquote(part) == value
    assert url.raw_path == f"/a/{part}/b"
    assert url.raw_query_string == ""
    assert len(url.raw_path.split("/")) == 4
    assert part not in {".", ".."}
    assert part.isascii()


@given(TEXT, TEXT, TEXT, TEXT, TEXT)
def test_a_path_has_as_many_segments_as_it_must(
    group: str, version: str, plural: str, namespace: str, name: str
) -> None:
    resource = Resource(group, version, plural, "P", namespaced=True)
    try:
        path = object_path(resource, ObjectKey(namespace, name))
    except UnsafeName:
        return

    parts = path.split("/")[1:]
    assert len(parts) == (7 if group else 6)
    assert unquote(parts[-1]) == name
    assert unquote(parts[-3]) == namespace


@given(st.dictionaries(st.from_regex(r"[a-zA-Z]{1,8}", fullmatch=True), TEXT, max_size=3))
def test_a_query_carries_exactly_its_parameters(parameters: dict[str, str]) -> None:
    try:
        query = query_string(parameters)
    except UnsafeName:
        return

    wanted = {name: [value] for name, value in parameters.items() if value}
    assert "#" not in query
    assert parse_qs(query[1:], keep_blank_values=True, separator="&") == wanted


@pytest.mark.parametrize(("namespace", "name"), [("a", "b:c"), ("a:b", "c"), ("a", ""), ("", "a")])
def test_a_service_account_cannot_be_read_as_another(namespace: str, name: str) -> None:
    with pytest.raises(UnsafeName):
        service_account_user(namespace, name)


def test_the_user_name_of_a_service_account() -> None:
    assert service_account_user("apps", "deployer") == "system:serviceaccount:apps:deployer"

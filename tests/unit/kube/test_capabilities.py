"""What a cluster can do, as templates see it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fluvial.kube.capabilities import Capabilities, CapabilitiesReader, api_versions
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, ServerError

AGGREGATED = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {"name": "apps"},
            "versions": [
                {
                    "version": "v1",
                    "freshness": "Current",
                    "resources": [
                        {
                            "resource": "deployments",
                            "responseKind": {
                                "group": "apps",
                                "version": "v1",
                                "kind": "Deployment",
                            },
                            "subresources": [
                                {"subresource": "scale", "responseKind": {"kind": "Scale"}},
                                {"subresource": "status", "responseKind": {"kind": "Deployment"}},
                            ],
                        },
                        {"resource": "odd", "responseKind": None},
                    ],
                }
            ],
        },
        {
            "metadata": {"name": "metrics.example.com"},
            "versions": [
                {
                    "version": "v1",
                    "freshness": "Stale",
                    "resources": [{"responseKind": {"kind": "Node"}}],
                }
            ],
        },
    ],
}
VERSION = {"gitVersion": "v1.33.4+k3s1", "major": "1", "minor": "33+"}
CORE = {
    "kind": "APIGroupDiscoveryList",
    "items": [{"metadata": {}, "versions": [{"version": "v1", "resources": []}]}],
}


class Server:
    """Answers by path."""

    def __init__(self, answers: dict[str, dict[str, Any] | Exception]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def request(self, method: str, path: str, *, accept: str = "") -> dict[str, Any]:
        self.asked.append(path)
        answer = self.answers[path]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def reader(self) -> CapabilitiesReader:
        return CapabilitiesReader(cast("KubeClient", self))


def test_group_versions_and_kinds_of_each() -> None:
    assert list(dict.fromkeys(api_versions(AGGREGATED))) == [
        "apps/v1",
        "apps/v1/Deployment",
        "apps/v1/Scale",
        "metrics.example.com/v1",
    ]


def test_a_version_alone() -> None:
    assert Capabilities.of_version("v1.33.4-gke.1") == Capabilities("v1.33.4-gke.1", "1", "33")


async def test_a_server_with_aggregated_discovery_is_asked_thrice_and_once_only() -> None:
    server = Server({"/version": VERSION, "/api": CORE, "/apis": AGGREGATED})
    reader = server.reader()
    first, second = await reader.current(), await reader.current()

    assert first == Capabilities(
        "v1.33.4+k3s1",
        "1",
        "33+",
        ("apps/v1", "apps/v1/Deployment", "apps/v1/Scale", "metrics.example.com/v1", "v1"),
    )
    assert second is first
    assert server.asked == ["/version", "/api", "/apis"]
    reader.invalidate()
    await reader.current()
    assert len(server.asked) == 6


async def test_a_server_without_it_is_asked_for_each_version() -> None:
    server = Server(
        {
            "/version": VERSION,
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {
                "kind": "APIGroupList",
                "groups": [
                    {"name": "apps", "versions": [{"version": "v1"}]},
                    {"name": "down.example.com", "versions": [{"version": "v1"}]},
                    {"name": "../x", "versions": [{"version": "v1"}]},
                ],
            },
            "/api/v1": {"resources": [{"name": "pods", "kind": "Pod"}, {"name": "odd"}]},
            "/apis/apps/v1": {
                "resources": [
                    {"name": "deployments", "kind": "Deployment"},
                    {"name": "deployments/scale", "kind": "Scale"},
                ]
            },
            "/apis/down.example.com/v1": ServerError("no"),
        }
    )

    assert (await server.reader().current()).api_versions == (
        *("../x/v1", "apps/v1", "apps/v1/Deployment", "apps/v1/Scale"),
        *("down.example.com/v1", "v1", "v1/Pod"),
    )


@pytest.mark.parametrize(
    "answer", [{"items": 1}, {"versions": 1}, {"versions": [1], "groups": [1]}]
)
async def test_an_answer_that_is_no_discovery(answer: dict[str, Any]) -> None:
    kind = {"kind": "APIGroupDiscoveryList"} if "items" in answer else {}
    server = Server({"/version": VERSION, "/api": {**answer, **kind}, "/apis": CORE})
    with pytest.raises(ApiError):
        await server.reader().current()


async def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(ServerError):
        await Server({"/version": ServerError("no")}).reader().current()

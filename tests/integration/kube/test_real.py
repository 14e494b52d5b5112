"""The client against the real API server."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controlplane.start import ControlPlane
from fluvial.kube.errors import ApiError
from fluvial.kube.http import HttpKubeClient
from fluvial.objects import JsonObject, ObjectKey

from .scenarios import SECRETS, ApiServerScenarios


class TestReal(ApiServerScenarios):
    @pytest.fixture
    def kubeconfig(self, real_control_plane: ControlPlane) -> JsonObject:
        return copy.deepcopy(real_control_plane.kubeconfig())

    @pytest.mark.parametrize("verb", ["apply", "create"])
    @pytest.mark.parametrize(
        "content",
        [
            {"stringData": {"number": 4711471147}},
            {"stringData": {"list": ["hunter2"]}},
            {"data": {"a": "hunter2 is not base64"}},
            {"data": {"bad key hunter2!": "aHVudGVyMg=="}},
            {"data": {"a": "aHVudGVyMg=="}, "type": "kubernetes.io/tls"},
            {"data": "hunter2"},
        ],
        ids=["number", "list", "base64", "key", "type", "text"],
    )
    async def test_a_refused_secret_does_not_tell_its_values(
        self, admin: HttpKubeClient, namespace: str, verb: str, content: dict[str, Any]
    ) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": namespace, "name": "s"},
            **content,
        }
        if verb == "apply":
            sending = admin.apply(SECRETS, ObjectKey(namespace, "s"), secret, field_manager="m")
        else:
            sending = admin.create(SECRETS, secret, field_manager="m")
        with pytest.raises(ApiError) as caught:
            await sending
        text = f"{caught.value} {caught.value.details}"

        assert "4711471147" not in text
        assert "hunter2" not in text.replace("bad key hunter2!", "")
        assert "aHVudGVyMg" not in text

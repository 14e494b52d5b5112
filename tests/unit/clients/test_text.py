"""What is made equal in outputs, and what is left as it is."""

from __future__ import annotations

import pytest

from conformance.clients.text import Texts

TEXTS = Texts(server="https://127.0.0.1:34567", folder="/tmp/x-1")  # noqa: S108 - a text


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("web   1/1     1     1     3s", "web   1/1   1   1   <age>"),
        ("web   1/1     1     1     12m", "web   1/1   1   1   <age>"),
        ("2m3s        Normal   Tried", "<age>   Normal   Tried"),
        ("5s (x3 over 326d)   Warning", "<age> (x3 over <age>)   Warning"),
        ("Age:          5d", "Age:   <age>"),
        ("    indented:   x", "    indented:   x"),
        ("at 2026-11-23T08:03:13Z", "at <time>"),
        ("CreationTimestamp:  Mon, 23 Nov 2026 08:03:13 +0000", "CreationTimestamp:   <time>"),
        ("uid: 703fde66-a133-471d-93d9-7b675a035e78", "uid: <uid>"),
        ('  resourceVersion: "286"', '  resourceVersion: "<rv>"'),
        ('{"resourceVersion":"286"}', '{"resourceVersion":"<rv>"}'),
        ("Resource Version:  286", "Resource Version:   <rv>"),
        ("server: https://127.0.0.1:34567", "server: <server>"),
        ("in /tmp/x-1/here", "in <folder>/here"),
        ("ClusterIP   10.0.12.7", "ClusterIP   <address>"),
        ("80:31234/TCP", "80:<port>/TCP"),
        ("replicaset.apps/web-6b474476c4", "replicaset.apps/web-<generated>"),
        ("pod/web-6b474476c4-x7k2p", "pod/web-<generated>"),
        ("configmap/made-46cxx", "configmap/made-<generated>"),
        ("--- /x/LIVE-123456/v1.ConfigMap", "--- /x/LIVE/v1.ConfigMap"),
        ('"continue":"abc123"', '"continue":"<token>"'),
        ("eyJhbGciOi.eyJpc3Mi.c2lnbmF0", "<token>"),
    ],
)
def test_makes_equal(line: str, wanted: str) -> None:
    assert TEXTS.lines(line) == [wanted]


@pytest.mark.parametrize(
    "line",
    [
        "replicas: 3",
        "image: example.com/web:1",
        "configmap/settings created",
        "k-rollout-status",
        "timeout after 3s of waiting",
        "generation: 2",
        'metadata.name: Invalid value: "BAD"',
        "80/TCP",
        "node.kubernetes.io/not-ready",
        "v1.37.2",
    ],
)
def test_leaves_alone(line: str) -> None:
    assert TEXTS.lines(line) == [line]


def test_the_log_of_the_client_is_no_output() -> None:
    text = 'before\nE1123 08:03:13.123456   12345 file.go:12] "Unhandled"\nafter\n'

    assert TEXTS.lines(text) == ["before", "after"]

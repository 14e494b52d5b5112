"""Bytes and digests are those of Go, to the last one."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import msgspec
import pytest

from fluvial.api.codec import decode
from fluvial.api.helm import PostRenderer
from fluvial.api.kustomize import CommonMetadata
from fluvial.helm import digests, gojson, gotime, goyaml
from fluvial.helm.errors import ChartVersionError
from fluvial.helm.record import decode_release
from fluvial.helm.release import Hook, HookRun, Release
from unit.helm.helm_vectors import vectors


def _read(release: dict[str, Any]) -> Release:
    return decode_release(base64.b64encode(json.dumps(release).encode()))


def test_json_is_gos() -> None:
    cases = vectors("json")

    assert [gojson.dumps(gojson.as_read(value)).decode() for value, _ in cases] == [
        text for _, text in cases
    ]


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**400])
def test_json_has_no_such_number(number: float) -> None:
    with pytest.raises(ValueError, match="number"):
        gojson.dumps(gojson.as_read(number))


def test_json_has_no_lone_surrogate() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        gojson.dumps("\ud800")


def test_yaml_is_gos() -> None:
    cases = vectors("yaml")

    assert [goyaml.dumps(values).decode() for values, _, _ in cases] == [t for _, t, _ in cases]
    assert [digests.config_digest(values) for values, _, _ in cases] == [d for _, _, d in cases]


def test_no_values_are_nothing_at_all() -> None:
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    assert digests.config_digest({}) == empty
    assert digests.config_matches(empty, {})
    assert not digests.config_matches(empty, {"a": 1})


def test_values_of_a_published_test_have_its_digest() -> None:
    values = {
        "replicas": 3,
        "test": {
            "632bd80235a05f4192aefade": "value1",
            "632bd80ddf416cf32fd50679": "value2",
            "632bd817c559818a52307da2": "value3",
            "632bd82398e71231a98004b6": "value4",
        },
    }

    assert (
        digests.config_digest(values)
        == "sha256:8a980fcbeadd6f05818f07e8aec14070c22250ca3d96af1fcd5f93b3e85b4d70"
    )


def test_a_snapshot_of_a_published_test_has_its_digest() -> None:
    digest = "sha256:f1498f27a16a09cd7e1ee610d924df065c03d30035638babc95dd9a8d412ce4d"

    assert digests.release_digest(Release(name="foo")) == digest


@pytest.mark.parametrize("case", vectors("releases"), ids=lambda _: "")
def test_snapshots_are_gos(case: dict[str, Any]) -> None:
    release = _read(case["release"])
    algorithm, oci = case["algorithm"], case["oci"]

    assert digests.observation(release, oci_digest=oci).decode() == case["observation"]
    assert digests.release_digest(release, oci_digest=oci, algorithm=algorithm) == case["digest"]
    assert digests.config_digest(release.config, algorithm) == case["config"]
    assert digests.release_matches(case["digest"], release, oci_digest=oci)
    assert not digests.release_matches(case["digest"], release, oci_digest="sha256:other")


def test_the_run_of_a_test_is_no_change() -> None:
    hooks = (Hook(name="t", events=("test",)), Hook(name="h", events=("pre-install",)))
    release = Release(name="a", version=1, hooks=hooks)
    ran = HookRun(started_at="2026-01-01T00:00:00Z", phase="Succeeded")
    tested = msgspec.structs.replace(hooks[0], last_run=ran)
    hooked = msgspec.structs.replace(hooks[1], last_run=ran)
    digest = digests.release_digest(release)

    assert digests.release_matches(
        digest, msgspec.structs.replace(release, hooks=(tested, hooks[1]))
    )
    assert not digests.release_matches(
        digest, msgspec.structs.replace(release, hooks=(hooks[0], hooked))
    )


async def test_the_digest_of_large_values_is_made_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    plain = digests.config_digest

    def noted(values: dict[str, Any], algorithm: str) -> str:
        made.append(threading.get_ident())
        return plain(values, algorithm)

    monkeypatch.setattr(digests, "config_digest", noted)
    small: list[dict[str, Any]] = [{}, {"a": [1, {"b": "c"}]}]
    large: list[dict[str, Any]] = [
        {f"key{n}": {"of": []} for n in range(600)},
        {"a": "x" * 999_999},
    ]
    for values in (*small, *large):
        assert await digests.config_digest_of(values) == plain(values)
    here = threading.get_ident()
    assert [ident == here for ident in made] == [True, True, False, False]


def test_a_digest_that_is_known_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"a": 1}
    known, other = digests.config_digest(values), digests.config_digest(values, "sha512")
    with monkeypatch.context() as patch:
        patch.setattr("fluvial.helm.goyaml.dumps", None)
        assert digests.config_matches(known, values, known=known)
        assert not digests.config_matches("sha256:" + "0" * 64, values, known=known)
        assert not digests.config_matches("sha256:é", values, known=known)
    assert digests.config_matches(other, values, known=known)
    assert not digests.config_matches("", values, known=known)


@pytest.mark.parametrize("algorithm", digests.ALGORITHMS)
def test_a_snapshot_may_have_a_digest_of_each_algorithm(algorithm: str) -> None:
    release = Release(name="a", manifest="kind: A")
    digest = digests.release_digest(release, algorithm=algorithm)

    assert digest.startswith(f"{algorithm}:")
    assert digests.is_digest(digest)
    assert digests.release_matches(digest, release)
    assert not digests.release_matches(digest, Release(name="b", manifest="kind: A"))


@pytest.mark.parametrize(
    "text",
    ["", "sha256", "sha256:", "sha256:00", "sha512:" + "0" * 64, "md5:" + "0" * 32, "SHA256:00"],
)
def test_what_is_no_digest_matches_nothing(text: str) -> None:
    assert not digests.is_digest(text)
    assert not digests.config_matches(text, {})
    assert not digests.release_matches(text, Release(name="a"))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", ""),
        ("0001-01-01T00:00:00Z", ""),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.120000Z", "2026-01-02T03:04:05.12Z"),
        ("2026-01-02T03:04:05.000+00:00", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.1234567891-07:00", "2026-01-02T03:04:05.123456789-07:00"),
    ],
)
def test_times_are_written_as_go_writes_them(text: str, written: str) -> None:
    assert gotime.normal(text) == written


@pytest.mark.parametrize("text", ["yesterday", "2026-01-02", "2026-13-02T00:00:00Z"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|month"):
        gotime.normal(text)


def test_times_of_statuses_have_whole_seconds_in_utc() -> None:
    assert gotime.seconds_only("2026-01-02T03:04:05.9-07:00") == "2026-01-02T10:04:05Z"
    assert gotime.seconds_only("") == ""


def test_post_renderers_and_common_metadata_have_digests_of_their_own() -> None:
    renderer = decode(
        {
            "kustomize": {
                "images": [{"name": "a", "newTag": "<1>"}],
                "patches": [{"patch": "p", "target": {"kind": "Deployment", "name": "x"}}],
            }
        },
        PostRenderer,
    )
    metadata = CommonMetadata(labels={"b": "1", "a": "2"})

    assert digests.post_renderers_digest(()) == ""
    assert digests.common_metadata_digest(None) == ""
    # printf '[{"kustomize":{…}}]\n' | sha256sum, with the text as Go's encoder gives it
    assert digests.post_renderers_digest([renderer]) == digests._digest(
        b'[{"kustomize":{"patches":[{"patch":"p","target":{"kind":"Deployment","name":"x"}}],'
        b'"images":[{"name":"a","newTag":"\\u003c1\\u003e"}]}}]\n',
        "sha256",
    )
    assert digests.common_metadata_digest(metadata) == digests._digest(
        b'{"labels":{"a":"2","b":"1"}}\n', "sha256"
    )


_DIGEST = "sha256:0123456789abcdef"


@pytest.mark.parametrize(
    ("version", "revision", "tracked"),
    [
        ("1.2.3", f"1.2.3@{_DIGEST}", "1.2.3+0123456789ab"),
        ("1.2.3+build", f"1.2.3_build@{_DIGEST}", "1.2.3+0123456789ab"),
        ("v1.2", f"1.2.0@{_DIGEST}", "1.2.0+0123456789ab"),
        ("1.2.3-rc.1", f"1.2.3-rc.1@{_DIGEST}", "1.2.3-rc.1+0123456789ab"),
        ("1.2.3", _DIGEST, "1.2.3+0123456789ab"),
    ],
)
def test_a_chart_of_an_artifact_is_told_by_its_digest(
    version: str, revision: str, tracked: str
) -> None:
    assert digests.track_chart(version, revision) == (tracked, _DIGEST)


@pytest.mark.parametrize(
    ("version", "revision"),
    [
        ("nothing", f"1.2.3@{_DIGEST}"),
        ("1.2.4", f"1.2.3@{_DIGEST}"),
        ("1.2.3", "1.2.3"),
        ("1.2.3", "1.2.3@sha256:0"),
        ("1.2.3", "latest"),
    ],
)
def test_a_chart_that_is_not_the_artifacts_is_refused(version: str, revision: str) -> None:
    with pytest.raises(ChartVersionError):
        digests.track_chart(version, revision)

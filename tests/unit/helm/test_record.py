"""A record is read with suspicion and written as Helm writes it."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluvial.helm import record
from fluvial.helm.errors import CorruptRecord
from fluvial.helm.record import decode_release, encode_release
from fluvial.helm.release import Hook, HookRun, Info, Release, Status
from unit.helm.helm_vectors import vectors


def _packed(data: bytes) -> bytes:
    return base64.b64encode(gzip.compress(data))


def _plain(text: bytes) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


@pytest.mark.parametrize("case", vectors("releases"), ids=lambda _: "")
def test_what_is_read_is_written_again(case: dict[str, Any]) -> None:
    release = decode_release(_packed(json.dumps(case["release"]).encode()))

    again = decode_release(encode_release(release))
    assert encode_release(again) == encode_release(release)
    assert msgspec.structs.replace(again, chart=release.chart, config=release.config) == release
    # The chart is not even looked at.
    assert _plain(encode_release(release))["chart"] == case["release"]["chart"]


def test_a_record_has_the_fields_of_helm_in_their_order() -> None:
    release = Release(
        name="app",
        version=3,
        namespace="apps",
        info=Info(status="deployed", last_deployed="2026-01-02T03:04:05.5Z"),
        config={"b": 1.0, "a": "<"},
        manifest="---\n",
        hooks=(Hook(name="h", last_run=HookRun(), weight=-1),),
        apply_method="ssa",
    )
    text = gzip.decompress(base64.b64decode(encode_release(release)))

    assert text == (
        b'{"name":"app","info":{"last_deployed":"2026-01-02T03:04:05.5Z","status":"deployed"},'
        b'"config":{"a":"\\u003c","b":1},"manifest":"---\\n",'
        b'"hooks":[{"name":"h","last_run":{"phase":""},"weight":-1}],'
        b'"version":3,"namespace":"apps","apply_method":"ssa"}'
    )


def test_a_record_that_is_not_packed_is_read() -> None:
    text = base64.b64encode(b'{"name":"app","version":1,"info":{"status":"deployed"}}')

    assert decode_release(text).status is Status.DEPLOYED


def test_empty_times_and_nulls_are_tolerated() -> None:
    release = decode_release(
        _packed(
            b'{"name":"app","info":{"first_deployed":"","deleted":null,"status":"failed"},'
            b'"chart":null,"config":null,"hooks":[null,{"name":"h","events":null,"last_run":'
            b'{"started_at":"","completed_at":null,"phase":"Failed"}}],"new_field":[1]}'
        )
    )

    assert release.info == Info(status="failed")
    assert [hook.last_run for hook in release.hooks] == [HookRun(phase="Failed")]
    assert release.config == {}
    assert not release.chart


def test_the_chart_is_known_by_its_metadata() -> None:
    chart = {"metadata": {"name": "app", "version": "1.2.3", "keywords": None}, "templates": [5]}
    release = decode_release(_packed(json.dumps({"name": "a", "chart": chart}).encode()))

    assert (release.metadata.name, release.metadata.version) == ("app", "1.2.3")
    assert json.loads(bytes(release.chart)) == chart


_SECRET = "s3cr3t-value"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "not JSON"),
        (b"not base64!", "not base64 of gzip"),
        (base64.b64encode(b"\x1f\x8b\x08garbage"), "not base64 of gzip"),
        (_packed(json.dumps({"name": _SECRET}).encode())[:-12], "not base64 of gzip"),
        (_packed(_SECRET.encode()), "not JSON"),
        (_packed(b'{"name":"\xff' + _SECRET.encode() + b'"}'), "not JSON"),
        (_packed(b"[" * 100_000), "Expected `object`"),
        (_packed(b'{"name":"a","config":' + b'{"a":' * 100_000), "nests too deeply"),
        (_packed(b'{"name":"a","chart":' + b"[" * 100_000), "nests too deeply"),
        (_packed(b'["' + _SECRET.encode() + b'"]'), "Expected `object`"),
        (_packed(b"{}"), "missing required field `name`"),
        (_packed(b'{"name":"a","version":"' + _SECRET.encode() + b'"}'), "at `$.version`"),
        (_packed(b'{"name":"a","info":{"status":["s3cr3t-value"]}}'), "at `$.info.status`"),
        (_packed(b'{"name":"a","info":{"deleted":"s3cr3t-value"}}'), "not RFC 3339"),
        (_packed(b'{"name":"a","hooks":[{"last_run":{"started_at":"s3cr3t-value"}}]}'), "RFC"),
        (_packed(b'{"name":"a","config":["s3cr3t-value"]}'), "at `$.config`"),
        (_packed(b'{"name":"a","chart":{"metadata":{"name":["s3cr3t-value"]}}}'), "at `$.name`"),
        (_packed(b'{"name":"a","chart":["s3cr3t-value"]}'), "Expected `object`"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_record_is_refused_without_quoting_it(text: bytes, problem: str) -> None:
    with pytest.raises(CorruptRecord) as caught:
        decode_release(text, secret="sh.helm.release.v1.app.v3", version=3)

    assert problem in str(caught.value)
    assert "sh.helm.release.v1.app.v3" in str(caught.value)
    assert caught.value.version == 3
    assert _SECRET not in str(caught.value)


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "LARGEST_RECORD", 1024**2)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(b'{"name":"' + b"a" * (8 * 1024**2)) + packer.flush()

    with pytest.raises(CorruptRecord, match="more than 1 MiB unpacked"):
        decode_release(base64.b64encode(bomb))


def test_values_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="infinity"):
        encode_release(Release(name="a", config={"n": float("inf")}))


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_record_or_corrupt(data: bytes) -> None:
    for text in (data, base64.b64encode(data), _packed(data)):
        try:
            read = decode_release(text)
        except CorruptRecord:
            continue
        assert isinstance(read, Release)


def test_statuses_that_are_new_are_unknown() -> None:
    assert Release(name="a", info=Info(status="paused")).status is Status.UNKNOWN
    assert Release(name="a").status is Status.UNKNOWN
    assert [s for s in Status if s.is_pending] == [
        Status.PENDING_INSTALL,
        Status.PENDING_UPGRADE,
        Status.PENDING_ROLLBACK,
    ]


def test_a_release_in_another_state_is_the_same_otherwise() -> None:
    release = Release(name="a", version=2, namespace="b", manifest="m", info=Info(notes="n"))
    failed = release.with_status(Status.FAILED, "no")

    assert failed.info == Info(notes="n", status="failed", description="no")
    assert msgspec.structs.replace(failed, info=release.info) == release
    assert str(failed) == "b/a.v2"


def test_what_is_shown_of_a_release_has_no_secrets() -> None:
    hook = Hook(name="h", kind="Pod", manifest="s3cr3t", events=("test",))
    release = Release(name="a", manifest="s3cr3t", config={"p": "s3cr3t"}, hooks=(hook,))

    assert "s3cr3t" not in f"{release} {release!r} {hook!r}"


def test_no_time_is_spared_where_a_record_would_be_too_large() -> None:
    release = decode_release(_packed(json.dumps(vectors("releases")[0]["release"]).encode()))
    text = "".join(f"key-{n % 97}: value-{n * n % 389}\n" for n in range(4000))
    release = msgspec.structs.replace(release, manifest=text)

    quick = encode_release(release)
    assert encode_release(release, limit=len(quick)) == quick
    small = encode_release(release, limit=len(quick) - 1)
    assert len(small) < len(quick)
    assert decode_release(small) == decode_release(quick)

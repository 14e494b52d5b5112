"""Indexes of Helm repositories: what is read, left out, refused and written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fluvial.semver import Version
from source_controller.helm.index import IndexSummary, InvalidIndex, rewrite

HEAD = "apiVersion: v1\nentries:\n"


def index(folder: Path, text: str | bytes) -> tuple[dict[str, Any], IndexSummary]:
    source, target = folder / "index", folder / "index.json"
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    summary = rewrite(source, target)
    found: dict[str, Any] = json.loads(target.read_bytes())
    return found, summary


def versions(folder: Path, text: str, chart: str = "app") -> list[str]:
    found, _ = index(folder, text)
    return [entry["version"] for entry in found["entries"][chart]]


def entry(**fields: Any) -> str:
    """One entry of the chart ``app``, in YAML."""
    return json.dumps({"name": "app", "version": "1.0.0", "urls": ["app-1.0.0.tgz"], **fields})


# --- what goes through ----------------------------------------------------------------------------


def test_yaml_becomes_json_with_every_field_of_a_chart(tmp_path: Path) -> None:
    found, summary = index(
        tmp_path,
        """apiVersion: v1
generated: "2024-05-01T10:00:00.123456789+02:00"
publicKeys: [abc]
annotations: {a: b}
serverInfo: {contextPath: /x, more: {deep: {deeper: 1}}}
entries:
  app:
  - apiVersion: v2
    name: app
    version: 1.2.3+build.5
    appVersion: "1.10"
    description: |
      Two
      lines
    home: https://example.com
    sources: [https://example.com/src]
    keywords: [web, null]
    maintainers: [{name: Jo, email: jo@example.com, url: https://jo.example}]
    icon: https://example.com/icon.svg
    condition: app.enabled
    tags: front
    deprecated: true
    annotations: {category: Web, empty: null}
    kubeVersion: ">=1.20.0"
    dependencies:
    - {name: common, version: 1.x.x, repository: https://charts.example, alias: other,
       condition: common.enabled, tags: [x], enabled: true, import-values: [data, {child: a, parent: b}]}
    type: application
    urls: [charts/app-1.2.3.tgz]
    created: "2024-05-01T10:00:00.123456789Z"
    removed: false
    digest: 0a1b
    checksum: 1
    engine: gotpl
    tillerVersion: 2.0
    url: old
""",
    )

    chart = found["entries"]["app"][0]
    assert summary == IndexSummary(charts=1, versions=1, dropped=0)
    assert found["generated"] == "2024-05-01T10:00:00.123456789+02:00"
    assert (found["publicKeys"], found["annotations"]) == (["abc"], {"a": "b"})
    assert "serverInfo" not in found
    assert chart["created"] == "2024-05-01T10:00:00.123456789Z", "to the nanosecond"
    assert chart["description"] == "Two lines ", "one line, as Helm makes it"
    assert chart["keywords"] == ["web", ""]
    assert chart["dependencies"][0]["import-values"] == ["data", {"child": "a", "parent": "b"}]
    assert chart["maintainers"] == [
        {"name": "Jo", "email": "jo@example.com", "url": "https://jo.example"}
    ]
    assert (chart["checksum"], chart["tillerVersion"]) == ("1", "2"), "texts, as Go makes them"
    assert chart["version"] == "1.2.3+build.5"


def test_what_was_written_can_be_read_again(tmp_path: Path) -> None:
    first, _ = index(tmp_path, HEAD + f"  app:\n  - {entry()}\n  b:\n  - {entry(name='b')}\n")
    again, _ = index(tmp_path, (tmp_path / "index.json").read_bytes())

    assert again == first


def test_versions_are_sorted_the_newest_first(tmp_path: Path) -> None:
    listed = ["1.0.0-rc.1", "v2.0.0", "1.0.0", "1.10.0", "1.9.0", "0.1", "1.0.0-rc.10"]
    text = HEAD + "  app:\n" + "".join(f"  - {entry(version=one)}\n" for one in listed)

    assert versions(tmp_path, text) == [
        "v2.0.0",
        "1.10.0",
        "1.9.0",
        "1.0.0",
        "1.0.0-rc.10",
        "1.0.0-rc.1",
        "0.1",
    ]


def test_an_entry_without_an_api_version_has_the_first(tmp_path: Path) -> None:
    found, _ = index(tmp_path, HEAD + f"  app:\n  - {entry()}\n")

    assert found["entries"]["app"][0]["apiVersion"] == "v1"


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\n",
        "apiVersion: v1\nentries:\n",
        "apiVersion: v1\nentries: {}\n",
        '{"apiVersion": "v1", "entries": null}',
    ],
)
def test_an_index_may_have_no_charts(tmp_path: Path, text: str) -> None:
    found, summary = index(tmp_path, text)

    assert found == {"apiVersion": "v1", "entries": {}}
    assert summary.charts == 0


def test_json_may_have_unknown_fields(tmp_path: Path) -> None:
    """As Flux: only YAML is strict."""
    text = json.dumps(
        {
            "apiVersion": "v1",
            "new": {"x": 1},
            "entries": {
                "app": [json.loads(entry(future=[1], dependencies=[{"name": "d", "y": 1}]))]
            },
        }
    )
    found, _ = index(tmp_path, text)

    assert found["entries"]["app"][0]["dependencies"] == [{"name": "d"}]
    assert "future" not in found["entries"]["app"][0]


def test_entries_may_share_parts_by_anchors(tmp_path: Path) -> None:
    text = HEAD + (
        "  app:\n"
        "  - &first {name: app, version: 1.0.0, urls: [a.tgz], maintainers: &who [{name: Jo}]}\n"
        "  - {<<: *first, version: 2.0.0}\n"
        "  other:\n"
        "  - *first\n"
        "  - {name: app, version: 3.0.0, maintainers: *who}\n"
    )
    found, _ = index(tmp_path, text)

    assert [e["version"] for e in found["entries"]["app"]] == ["2.0.0", "1.0.0"]
    assert [e["maintainers"] for e in found["entries"]["other"]] == [[{"name": "Jo"}]] * 2


# --- what is left out -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        "null",
        entry(name=""),
        entry(name="../app"),
        entry(name=".."),
        entry(version=""),
        entry(version="one"),
        entry(version=None),
        entry(type="plugin"),
        entry(maintainers=[None]),
        entry(dependencies=[None]),
        entry(dependencies=[{"name": "a", "alias": "not/allowed"}]),
    ],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["yaml", "json"])
def test_an_entry_that_is_no_chart_is_left_out(tmp_path: Path, bad: str, *, as_json: bool) -> None:
    good = entry(version="2.0.0")
    text = (
        f'{{"apiVersion": "v1", "entries": {{"app": [{bad}, {good}]}}}}'
        if as_json
        else HEAD + f"  app:\n  - {bad}\n  - {good}\n"
    )
    found, summary = index(tmp_path, text)

    assert [item["version"] for item in found["entries"]["app"]] == ["2.0.0"]
    assert (summary.versions, summary.dropped) == (1, 1)


def test_dependencies_of_one_name_are_no_reason_to_leave_out(tmp_path: Path) -> None:
    twice = entry(dependencies=[{"name": "a"}, {"name": "a"}])

    assert versions(tmp_path, HEAD + f"  app:\n  - {twice}\n") == ["1.0.0"]


def test_what_cannot_be_printed_is_taken_out(tmp_path: Path) -> None:
    found, _ = index(
        tmp_path,
        HEAD + '  app:\n  - {name: app, version: 1.0.0, description: "a\\tb\\u200bc\\u0007"}\n',
    )

    assert found["entries"]["app"][0]["description"] == "a bc"


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("entries: {}\n", "no API version"),
        ('{"entries": {}}', "no API version"),
        ("- a\n", "not a mapping"),
        ("<html><body>Not found</body></html>", "not a mapping"),
        ("apiVersion: v1\nentries: [a]\n", "entries is not a mapping"),
        (HEAD + "  app: {a: b}\n", "entries.app is not a list"),
        (HEAD + "  app: [text]\n", r"entries.app\[0\] is not a mapping"),
        ("apiVersion: v1\nunknown: 1\n", "unknown field 'unknown' in the index"),
        (HEAD + f"  app:\n  - {entry(nmae=1)}\n", r"entries.app\[0\]: unknown field 'nmae'"),
        (
            HEAD + f"  app:\n  - {entry(dependencies=[{'nmae': 1}])}\n",
            "unknown field 'nmae' in dependencies",
        ),
        (HEAD + f"  app:\n  - {entry(dependencies=1)}\n", r"entries.app\[0\]: dependencies"),
        (HEAD + "  app: []\n  app: []\n", 'key "app" is already set'),
        (HEAD + "  app:\n  - {name: a, name: b}\n", 'key "name" is already set'),
        (HEAD + "  app:\n  - {name: app, version: 1.0.0, appVersion: 1.10}\n", "appVersion"),
        (HEAD + "  app:\n  - {name: app, version: 1.0}\n", "version"),
        ('{"apiVersion": "v1", "entries": {"app": [{"name": 1}]}}', r"entries.app\[0\]: name"),
        ('{"apiVersion": 1}', "apiVersion"),
        (HEAD + f"  app:\n  - {entry(created='yesterday')}\n", "created is not a time"),
        ("apiVersion: v1\ngenerated: 2024\n", "generated"),
        (
            '{"apiVersion": "v1", "generated": "x", "entries": {"app": [{"name": "a"}]}}',
            "generated",
        ),
        ("apiVersion: v1\nentries: {\n", "line"),
        ('{"apiVersion": "v1", "entries": {"app": [', "line"),
        ("apiVersion: v1\n---\napiVersion: v1\n", "one document"),
        ("apiVersion: \x00v1", "control characters"),
    ],
)
def test_what_is_no_index_is_refused_and_says_where(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InvalidIndex, match=message):
        index(tmp_path, text)


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    with pytest.raises(InvalidIndex, match="aliases"):
        index(tmp_path, "apiVersion: v1\nserverInfo:\n  " + bomb.replace("\n", "\n  ") + "\n")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    for text in (
        "apiVersion: v1\nserverInfo: " + "[" * 2000 + "]" * 2000,
        '{"apiVersion": "v1", "serverInfo": {"a": ' + "[" * 100_000 + "]" * 100_000 + "}}",
    ):
        with pytest.raises(InvalidIndex, match="nested"):
            index(tmp_path, text)


def test_a_message_does_not_repeat_a_long_text(tmp_path: Path) -> None:
    with pytest.raises(InvalidIndex) as caught:
        index(tmp_path, "apiVersion: v1\n" + "x" * 5000 + ": 1\n")

    assert len(str(caught.value)) < 300


# --- whatever comes -------------------------------------------------------------------------------

TEXTS = st.sampled_from(["app", "1.0.0", "v1", "", "y", "../x", "a\u200bb"]) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    ["name", "version", "urls", "created", "dependencies", "maintainers", "type", "annotations"]
)
ENTRIES = st.dictionaries(FIELDS, VALUES, max_size=8) | VALUES
HEADS = st.fixed_dictionaries(
    {"apiVersion": st.just("v1") | VALUES},
    optional={
        "entries": st.dictionaries(TEXTS, st.lists(ENTRIES, max_size=3) | VALUES, max_size=3),
        "generated": VALUES,
        "serverInfo": VALUES,
        "annotations": VALUES,
    },
)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(head=HEADS, as_json=st.booleans())
def test_an_index_of_any_shape_is_stored_whole_or_refused(head: Any, *, as_json: bool) -> None:
    text = json.dumps(head) if as_json else yaml.safe_dump(head, allow_unicode=True)
    with tempfile.TemporaryDirectory() as name:
        try:
            found, summary = index(Path(name), text)
        except InvalidIndex:
            return

    listed = [entry for entries in found["entries"].values() for entry in entries]
    assert len(listed) == summary.versions
    assert all(Version.parse(entry["version"]) for entry in listed)
    assert all("/" not in entry["name"] for entry in listed)


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=200) | st.text("{}[]:,&*-<> \n\"'ab1", max_size=60).map(str.encode))
def test_bytes_of_any_kind_are_refused_in_one_way(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        try:
            found, _ = index(Path(name), data)
        except InvalidIndex:
            return

    assert found["apiVersion"]

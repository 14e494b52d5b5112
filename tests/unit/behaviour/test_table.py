"""Every reason, event and field has its test, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helm_controller.helmrelease.unsupported import REFUSED_FIELDS as HELM_RELEASE_REFUSED
from kustomize_controller.kustomization.unsupported import REFUSED_FIELDS
from source_controller.bucket.unsupported import REFUSED as BUCKET_REFUSED
from source_controller.helmchart.unsupported import REFUSED as HELM_CHART_REFUSED
from source_controller.helmrepository.unsupported import REFUSED as HELM_REPOSITORY_REFUSED
from unit.behaviour import table
from unit.behaviour.table import BadTable, Row, Shown

_TESTS = Path(__file__).resolve().parents[2]
_CRDS = _TESTS.parent / "charts/fluvial/crds"
_REFUSED = {
    "Kustomization": REFUSED_FIELDS,
    "GitRepository": (),
    "HelmChart": HELM_CHART_REFUSED,
    "HelmRelease": HELM_RELEASE_REFUSED,
    "HelmRepository": HELM_REPOSITORY_REFUSED,
    "OCIRepository": (),
    "Bucket": BUCKET_REFUSED,
    "ExternalArtifact": (),
    "ArtifactGenerator": (),
    "Receiver": (),
    "Alert": (),
    "Provider": (),
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = table.read_yaml(_TESTS / "behaviour.yaml")
    return found


@pytest.fixture(scope="module")
def shown() -> list[Shown]:
    return [
        one
        for path in sorted(_TESTS.rglob("test_*.py"))
        if "pytest.mark.shows" in (source := path.read_text()) and path != Path(__file__).resolve()
        for one in table.shown_in(source, str(path.relative_to(_TESTS)))
    ]


def _spec_fields(crd: Path) -> tuple[str, list[str]]:
    definition = table.read_yaml(crd)["spec"]
    schema = definition["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return definition["names"]["kind"], list(table.leaf_fields(schema, "spec"))


def test_every_row_has_a_test_or_says_why_not(document: dict[str, Any], shown: list[Shown]) -> None:
    gaps = table.row_gaps(table.read_rows(document), shown)

    assert not gaps, "\n".join(["", *gaps])


@pytest.mark.parametrize("crd", sorted(_CRDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_field_is_effective_or_refused(
    crd: Path, document: dict[str, Any], shown: list[Shown]
) -> None:
    kind, fields = _spec_fields(crd)
    listed = {entry["field"]: entry["reason"] for entry in document["schema_only"]}
    prefix = f"{kind}/"
    gaps = table.field_gaps(
        kind,
        fields,
        shown=shown,
        refused=_REFUSED[kind],
        schema_only=[name.removeprefix(prefix) for name in listed if name.startswith(prefix)],
    )

    assert fields
    assert all(listed.values())
    assert not gaps, "\n".join(["", *gaps])


@pytest.mark.parametrize("kind", _REFUSED)
def test_every_refusal_has_a_test(kind: str, shown: list[Shown]) -> None:
    gaps = table.refusal_gaps(kind, _REFUSED[kind], shown)

    assert not gaps, "\n".join(["", *gaps])


def test_markers_name_kinds_that_have_a_crd(shown: list[Shown]) -> None:
    kinds = {_spec_fields(crd)[0] for crd in _CRDS.glob("*.yaml")}
    named = {
        one.what.partition(":")[2].split("/")[0]
        for one in shown
        if one.what.startswith((table.FIELD, table.REFUSED))
    }

    assert named <= kinds


# --- the check is checked: each planted gap is caught -------------------------------------------------

ROWS = (Row("A/Ready/Good", ""), Row("A/Ready/Later", "it is not done"))


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    shown = [Shown("A/Ready/Good", "test"), Shown("field:A/spec.x", "test")]

    assert table.row_gaps(ROWS, shown) == []


@pytest.mark.parametrize(
    ("shown", "gap"),
    [
        ([], "A/Ready/Good: no test shows it"),
        (
            [Shown("A/Ready/Good", "t"), Shown("A/Ready/Bad", "t")],
            "A/Ready/Bad: shown by t, and no row of the table",
        ),
        (
            [Shown("A/Ready/Good", "t"), Shown("A/Ready/Later", "t")],
            "A/Ready/Later: marked not_yet, and shown by t",
        ),
    ],
    ids=["row without test", "test without row", "test of what is not done"],
)
def test_gaps_between_rows_and_tests_are_found(shown: list[Shown], gap: str) -> None:
    assert table.row_gaps(ROWS, shown) == [gap]


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "a"},
        {"id": "a", "when": "", "not_yet": ""},
        {"id": "a", "when": "x", "not_yet": "y"},
        {"id": "a", "when": "x", "notyet": "y"},
    ],
)
def test_a_row_says_when_or_why_not(entry: dict[str, str]) -> None:
    with pytest.raises(BadTable, match="exactly one"):
        table.read_rows({"rows": [entry]})


def test_a_row_is_there_once() -> None:
    entry = {"id": "a", "when": "x"}
    with pytest.raises(BadTable, match="twice"):
        table.read_rows({"rows": [entry, entry]})


FIELDS = ["spec.name", "spec.list[].name", "spec.list[].key", "spec.map", "spec.mode"]
SHOWN = [
    Shown("field:A/spec.name", "t"),
    Shown("field:A/spec.map", "t"),
    Shown("field:A/spec.mode", "t"),
]


@pytest.mark.parametrize(
    ("shown", "refused", "listed", "gap"),
    [
        (SHOWN, ["spec.list"], [], None),
        (SHOWN, ["spec.list[].name"], ["spec.list[].key"], None),
        (SHOWN, ["spec.list[].name"], [], "A: spec.list[].key is neither tested nor refused"),
        (SHOWN[:2], ["spec.list", "spec.mode=x"], [], "A: spec.mode is neither tested nor refused"),
        (SHOWN[1:], ["spec.list", "spec.na"], ["spec.name"], "A: spec.na is refused, and no field"),
        (
            [*SHOWN, Shown("field:A/spec.nmae", "t")],
            ["spec.list"],
            [],
            "A: spec.nmae is no field, and t shows it",
        ),
        (
            [*SHOWN, Shown("field:A/spec.list[].key", "t")],
            ["spec.list"],
            [],
            "A: spec.list[].key is refused, and t shows it",
        ),
        (SHOWN, ["spec.list"], ["spec.old"], "A: spec.old is listed, and no field"),
    ],
    ids=[
        "refused above",
        "refused and listed",
        "forgotten",
        "one value refused",
        "refused by half a name",
        "misspelt",
        "refused and tested",
        "listed and gone",
    ],
)
def test_gaps_between_fields_and_tests_are_found(
    shown: list[Shown], refused: list[str], listed: list[str], gap: str | None
) -> None:
    found = table.field_gaps("A", FIELDS, shown=shown, refused=refused, schema_only=listed)

    assert found == ([gap] if gap else [])


@pytest.mark.parametrize(
    ("refused", "gap"),
    [
        (["spec.x"], None),
        (["spec.x", "spec.y=z"], "A: no test shows that spec.y=z is refused"),
        ([], "A: spec.x is not refused, and t shows it"),
    ],
    ids=["shown", "forgotten", "not refused any more"],
)
def test_gaps_between_refusals_and_tests_are_found(refused: list[str], gap: str | None) -> None:
    shown = [Shown("refused:A/spec.x", "t"), Shown("refused:B/spec.q", "t")]

    assert table.refusal_gaps("A", refused, shown) == ([gap] if gap else [])


def test_leaves_are_found_through_lists_and_objects() -> None:
    text = {"type": "string"}
    items = {"type": "object", "properties": {"a": text, "b": {"type": "array", "items": text}}}
    schema = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": items},
            "map": {"type": "object", "additionalProperties": text},
            "texts": {"type": "array", "items": text},
        },
    }

    assert list(table.leaf_fields(schema, "spec")) == [
        "spec.list[].a",
        "spec.list[].b[]",
        "spec.map",
        "spec.texts[]",
    ]


MODULE = """
import pytest

@pytest.mark.shows("a", "b")
@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.shows("c"))])
async def test_one(x): ...

class TestIt:
    @pytest.mark.shows("d")
    def test_two(self): ...

@pytest.mark.skip
@pytest.mark.shows("e")
def test_skipped(): ...

@pytest.mark.xfail(reason="x")
@pytest.mark.shows("f")
def test_broken(): ...
"""


def test_markers_of_tests_that_run_are_collected() -> None:
    found = {(one.what, one.test) for one in table.shown_in(MODULE, "m.py")}

    one, two = "m.py::test_one", "m.py::test_two"
    assert found == {("a", one), ("b", one), ("c", one), ("d", two)}


@pytest.mark.parametrize(
    "source",
    [
        '@pytest.mark.shows("a")\ndef helper(): ...',
        'pytestmark = pytest.mark.shows("a")',
        "@pytest.mark.shows(NAME)\ndef test_it(): ...",
        "@pytest.mark.shows()\ndef test_it(): ...",
        '@pytest.mark.shows(row="a")\ndef test_it(): ...',
    ],
    ids=["on a helper", "on a module", "by a name", "empty", "by keyword"],
)
def test_markers_that_nobody_can_read_are_refused(source: str) -> None:
    with pytest.raises(BadTable, match="shows"):
        list(table.shown_in(source, "m.py"))

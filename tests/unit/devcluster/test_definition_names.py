"""Which names a definition gets, given those that others of its group have."""

from __future__ import annotations

from devcluster.controllers.names import claim

WIDGET = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}


def test_free_names_are_all_given() -> None:
    wanted = {**WIDGET, "shortNames": ["wd"], "categories": ["all"]}

    claimed = claim(wanted, {}, [{"plural": "gadgets", "kind": "Gadget"}])

    assert (claimed.names, claimed.reason) == (wanted, "")


def test_a_plural_is_taken_by_another_ones_short_name() -> None:
    claimed = claim(WIDGET, {}, [{"plural": "gadgets", "shortNames": ["widgets"]}])

    assert claimed.reason == "PluralConflict"
    assert claimed.message == '"widgets" is already in use'
    assert "plural" not in claimed.names
    assert claimed.names["kind"] == "Widget"


def test_each_short_name_that_is_taken_is_told() -> None:
    wanted = {**WIDGET, "shortNames": ["a", "b", "c"]}

    claimed = claim(wanted, {}, [{"shortNames": ["a", "c"]}])

    assert claimed.message == '["a" is already in use, "c" is already in use]'
    assert "shortNames" not in claimed.names


def test_a_short_name_that_it_has_already_is_no_conflict() -> None:
    had = {**WIDGET, "shortNames": ["a"]}

    claimed = claim({**WIDGET, "shortNames": ["a", "b"]}, had, [{"shortNames": ["a"]}])

    assert (claimed.names["shortNames"], claimed.reason) == (["a", "b"], "")


def test_names_that_are_refused_leave_the_old_ones() -> None:
    had = {**WIDGET, "shortNames": ["old"]}

    claimed = claim({**WIDGET, "shortNames": ["new"]}, had, [{"shortNames": ["new"]}])

    assert (claimed.names["shortNames"], claimed.reason) == (["old"], "ShortNamesConflict")


def test_the_last_conflict_gives_the_reason() -> None:
    claimed = claim(WIDGET, {}, [{"plural": "widgets", "kind": "WidgetList"}])

    assert claimed.reason == "ListKindConflict"


def test_a_name_that_is_asked_for_no_more_is_let_go() -> None:
    claimed = claim(WIDGET, {**WIDGET, "shortNames": ["wd"], "categories": ["all"]}, [])

    assert claimed.names == WIDGET

"""Expressions in worker processes: what they see, what they may cost, what they must not reach."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluvial.cel import evaluator
from fluvial.cel.evaluator import (
    CelEvaluator,
    EvaluatorBusy,
    ExpressionFailed,
    Program,
    cel_pool,
)
from fluvial.cel.language import InvalidExpression, check, evaluate
from fluvial.log import get_logger
from fluvial.workers.errors import WorkerBusy, WorkerError, WorkerStartFailed


@pytest.fixture
async def cel() -> AsyncIterator[CelEvaluator]:
    async with cel_pool(size=1, log=get_logger("test")) as pool:
        yield CelEvaluator(pool)


@pytest.mark.parametrize(
    "text",
    ["", "req.", "1 + 1", "'text'", "other.x", "req.exists(", "f(req)", "1 == 1.0"],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(InvalidExpression):
        check(text, ["req"], boolean=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("req.count == 2", True),
        ("req.count / 4.0", 0.5),
        ("req.?missing.orValue('none')", "none"),
        ("req.name.upperAscii()", "SHOP"),
        ("req.tags.exists(tag, tag == 'b')", True),
        ("sets.contains(req.tags, ['a'])", True),
        ("sets.contains(['a'], req.tags)", False),
        ("sets.intersects(req.tags, ['b', 'z'])", True),
        ("sets.equivalent(req.tags, ['b', 'a', 'a'])", True),
        ("base64.decode('aGk=') == b'hi'", True),
        ("has(req.missing)", False),
    ],
)
def test_the_language(text: str, value: Any) -> None:
    assert evaluate(text, {"req": {"count": 2, "name": "shop", "tags": ["a", "b"]}}) == value


def test_what_is_missing_is_an_error_and_not_false() -> None:
    with pytest.raises(InvalidExpression, match="missing"):
        evaluate("req.missing == 1", {"req": {}})


@pytest.mark.slow
async def test_one_answer_for_each_object(cel: CelEvaluator) -> None:
    answers = await cel.decide(
        Program("filter", "res.name == req.name"),
        data={"req": {"name": "b"}},
        each=[{"res": {"name": name}} for name in "abc"],
        namespace="team",
    )

    assert answers == [False, True, False]


@pytest.mark.slow
async def test_a_condition_that_is_a_text_is_an_error(cel: CelEvaluator) -> None:
    with pytest.raises(ExpressionFailed, match="filter: must be true or false"):
        await cel.decide(
            Program("filter", "req.name"), data={"req": {"name": "b"}}, each=[{}], namespace="team"
        )


@pytest.mark.slow
async def test_an_expression_without_end_is_ended(
    cel: CelEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the library's own budget of iterations, or else by time."""
    monkeypatch.setattr(evaluator, "_SECONDS", 0.5)
    every = "req.items.all(a, req.items.all(b, req.items.all(c, req.items.all(d, a + b + c + d >= 0.0))))"
    with pytest.raises(ExpressionFailed, match=r"longer|budget"):
        await cel.decide(
            Program("filter", every),
            data={"req": {"items": list(range(300))}},
            each=[{}],
            namespace="team",
        )

    assert await cel.decide(Program("f", "true"), data={}, each=[{}], namespace="team") == [True]


@pytest.mark.slow
async def test_names_of_fields_are_in_messages(cel: CelEvaluator) -> None:
    with pytest.raises(ExpressionFailed, match=r"spec\.filter: .*undeclared reference"):
        await cel.check(Program("spec.filter", "nope"), variables=["req"], namespace="team")


async def test_texts(cel: CelEvaluator) -> None:
    name = Program("spec.name", "req.name + '/' + string(req.count)")
    data = {"req": {"name": "shop", "count": 2}}
    assert await cel.text(name, data=data, namespace="team") == "shop/2"

    for text in ("req.count", "req.name == 'shop'", "[req.name]", "req.missing"):
        with pytest.raises(ExpressionFailed, match=r"spec\.name: "):
            await cel.text(Program("spec.name", text), data=data, namespace="team")


@pytest.mark.parametrize(
    "error",
    [WorkerBusy("many wait"), WorkerStartFailed("no memory"), WorkerError("Closed", "it ends")],
)
async def test_workers_that_cannot_be_had_say_nothing_of_the_expression(
    error: WorkerError, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = cel_pool(size=1, log=get_logger("test"))

    async def call(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pool, "call", call)
    cel = CelEvaluator(pool)
    with pytest.raises(EvaluatorBusy):
        await cel.check(Program("filter", "true"), variables=[], namespace="team")
    with pytest.raises(EvaluatorBusy):
        await cel.validate([], [Program("v", "true")], data={}, namespace="team")

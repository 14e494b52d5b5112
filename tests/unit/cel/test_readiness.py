"""Whether a dependency is ready by what the user says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio

from fluvial.cel.checked import CheckedConditions, InvalidExpressions
from fluvial.cel.evaluator import CelEvaluator, cel_pool
from fluvial.cel.readiness import ReadyCompiler, ReadyExpressions
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.store import Store
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.dependencies import DependencyCheck, DependencyRules, waits_for_expression
from fluvial.runtime.outcome import Waiting

pytestmark = pytest.mark.asyncio(loop_scope="module")
_KEY, _OTHER = ObjectKey("apps", "base"), ObjectKey("apps", "other")
_OWNER: JsonObject = {
    "metadata": {"namespace": "apps", "name": "app", "labels": {"version": "1.2"}},
    "spec": {"dependsOn": [{"name": "base", "readyExpr": "true"}]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def conditions() -> AsyncIterator[CheckedConditions]:
    async with cel_pool(size=1, log=get_logger("test")) as pool:
        yield CheckedConditions(CelEvaluator(pool))


async def _compiled(
    conditions: CheckedConditions, *texts: str, additive: bool = False
) -> ReadyExpressions:
    compiler = ReadyCompiler(conditions, additive=additive)
    found = await compiler.compile(_OWNER, [(_KEY, text) for text in texts])
    assert found is not None
    return found


def _base(*, ready: str, **status: Any) -> JsonObject:
    return {
        "metadata": {"namespace": "apps", "name": "base", "generation": 2},
        "status": {
            "observedGeneration": 2,
            "conditions": [{"type": "Ready", "status": ready}],
            **status,
        },
    }


@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        (["dep.status.n == 1 && self.metadata.labels.version == '1.2'"], ""),
        (["dep.status.n - 1 == 1"], "is not ready according to readyExpr"),
        (["true", "dep.status.n > 1"], "is not ready according to readyExpr"),
        (["dep.status.missing"], "cannot be judged: spec.dependsOn[0].readyExpr: "),
        (["dep.status.n"], "cannot be judged: spec.dependsOn[0].readyExpr: must be true or false"),
    ],
    ids=["true", "false", "both", "missing", "number"],
)
async def test_an_expression_judges(
    conditions: CheckedConditions, texts: list[str], verdict: str
) -> None:
    found = await (await _compiled(conditions, *texts)).verdict(_KEY, _base(ready="False", n=1))

    assert found is not None
    assert found.startswith(verdict) if verdict else found == ""


@pytest.mark.parametrize("text", ["dep.", "1 + 1", "status.n == 1", "nothing()"])
async def test_what_can_never_be_true_is_refused_at_once(
    conditions: CheckedConditions, text: str
) -> None:
    with pytest.raises(InvalidExpressions, match=r"spec\.dependsOn\[1\]\.readyExpr: "):
        await ReadyCompiler(conditions).compile(_OWNER, [(_KEY, ""), (_KEY, text)])


async def test_without_expressions_there_is_nothing_to_judge(
    conditions: CheckedConditions,
) -> None:
    assert await ReadyCompiler(conditions).compile(_OWNER, [(_KEY, ""), (_OTHER, "")]) is None
    found = await _compiled(conditions, "true")
    assert await found.verdict(_OTHER, {}) is None


@pytest.mark.parametrize(
    ("text", "ready", "additive", "problem"),
    [
        ("true", "False", False, ""),
        ("true", "False", True, "is not ready"),
        ("true", "True", True, "lags behind"),
        ("true", "True", False, ""),
        ("false", "True", False, "is not ready according to readyExpr"),
        ("false", "True", True, "is not ready according to readyExpr"),
    ],
)
async def test_it_takes_the_place_of_the_usual_check_or_comes_before_it(
    conditions: CheckedConditions, text: str, ready: str, *, additive: bool, problem: str
) -> None:
    store = Store()
    store.put(_base(ready=ready))
    check = DependencyCheck(
        cast("KubeClient", None), store, kinds.KUSTOMIZATION, DependencyRules(requeue=7.0)
    )
    judge = await _compiled(conditions, text, additive=additive)

    async def ask() -> None:
        await check.check(
            ObjectKey("apps", "app"),
            [_KEY],
            fresh=False,
            objection=lambda _: "lags behind",
            judge=judge,
        )

    if not problem:
        await ask()
        return
    with pytest.raises(Waiting, match=f"dependency 'apps/base' {problem}$"):
        await ask()


@pytest.mark.parametrize(
    ("reason", "expression", "waits"),
    [
        ("DependencyNotReady", "true", True),
        ("DependencyNotReady", "", False),
        ("ReconciliationSucceeded", "true", False),
    ],
)
async def test_any_change_wakes_only_what_waits_for_an_expression(
    reason: str, expression: str, *, waits: bool
) -> None:
    obj: JsonObject = {
        "spec": {"dependsOn": [{"name": "a"}, {"name": "b", "readyExpr": expression}]},
        "status": {"conditions": [{"type": "Ready", "reason": reason}]},
    }

    assert waits_for_expression(obj) is waits
    assert not waits_for_expression({"spec": {}})

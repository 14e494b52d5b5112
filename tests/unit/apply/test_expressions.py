"""Health by users' expressions: which kinds, in which order, and what goes wrong in them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fluvial.api.kustomize import CustomHealthCheck
from fluvial.apply.expressions import HealthCompiler, HealthExpressions
from fluvial.apply.health import Health, HealthStatus
from fluvial.apply.health_reader import read_health
from fluvial.apply.model import Owner, Target
from fluvial.cel.checked import CheckedConditions, InvalidExpressions
from fluvial.cel.evaluator import CelEvaluator, EvaluatorBusy, ExpressionFailed, cel_pool
from fluvial.kube.kinds import SECRET
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey, ObjectRef

pytestmark = pytest.mark.asyncio(loop_scope="module")
_REF = ObjectRef("example.com", "Thing", "apps", "t")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def compiler() -> AsyncIterator[HealthCompiler]:
    async with cel_pool(size=1, log=get_logger("test")) as pool:
        yield HealthCompiler(CheckedConditions(CelEvaluator(pool)))


def _check(current: str, **fields: str) -> CustomHealthCheck:
    given = {"api_version": "example.com/v1", "kind": "Thing"} | fields
    return CustomHealthCheck(current=current, **given)


async def _compiled(compiler: HealthCompiler, *checks: CustomHealthCheck) -> HealthExpressions:
    found = await compiler.compile(checks, namespace="apps")
    assert found is not None
    return found


async def _read(compiler: HealthCompiler, check: CustomHealthCheck, **status: Any) -> Health:
    live: JsonObject = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "generation": 3},
        "spec": {"replicas": 3},
        "status": status,
    }
    return await (await _compiled(compiler, check)).read(_REF, live)


_ALL = _check(
    "status.ready == spec.replicas", in_progress="status.busy", failed="status.ready - 1 < 0"
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"busy": True, "ready": 0}, HealthStatus.IN_PROGRESS),
        ({"busy": True}, HealthStatus.IN_PROGRESS),
        ({"busy": False, "ready": 0}, HealthStatus.FAILED),
        ({"busy": False, "ready": 3}, HealthStatus.CURRENT),
        ({"busy": False, "ready": 2}, HealthStatus.IN_PROGRESS),
        ({"busy": False, "ready": 3, "observedGeneration": 2}, HealthStatus.IN_PROGRESS),
        ({"busy": False, "ready": 3, "observedGeneration": 3}, HealthStatus.CURRENT),
        ({"busy": False, "ready": 3, "observedGeneration": "2"}, HealthStatus.CURRENT),
        ({"ready": 3}, HealthStatus.UNKNOWN),
        ({"busy": "yes", "ready": 3}, HealthStatus.UNKNOWN),
    ],
)
async def test_the_first_expression_that_is_true_decides(
    compiler: HealthCompiler, status: dict[str, Any], expected: HealthStatus
) -> None:
    """In progress before failed before current; what comes after the first does not count."""
    assert (await _read(compiler, _ALL, **status)).status is expected


async def test_what_cannot_be_evaluated_says_which_expression_and_why(
    compiler: HealthCompiler,
) -> None:
    missing = await _read(compiler, _check("status.conditions[0].status == 'True'"), phase="x")
    assert missing.status is HealthStatus.UNKNOWN
    assert missing.message.startswith("spec.healthCheckExprs[0].current: ")
    assert "conditions" in missing.message

    absent = await _read(compiler, _check("results.done"))
    assert "results" in absent.message
    text = await _read(compiler, _check("status.phase"), phase="x")
    assert text.message == "spec.healthCheckExprs[0].current: must be true or false"


async def test_names_of_fields_may_be_words_of_the_language(compiler: HealthCompiler) -> None:
    text = (
        "metadata.name == 't' && kind == 'Thing' && apiVersion.startsWith('example')"
        " && status.conditions.exists(e, e.type == 'Ready' && int(e.size) == 1)"
        " && type(status.n) == int && has(status.list) && size(status.list) == status.n"
    )
    health = await _read(
        compiler, _check(text), conditions=[{"type": "Ready", "size": "1"}], list=["a"], n=1
    )

    assert health == Health(HealthStatus.CURRENT, "spec.healthCheckExprs[0].current is true")


async def test_a_kind_goes_before_its_group(compiler: HealthCompiler) -> None:
    found = await _compiled(
        compiler, _check("false", kind=""), _check("true"), _check("true", api_version="v1")
    )
    other = ObjectRef("example.com", "Other", "apps", "t")

    assert (await found.read(_REF, {})).status is HealthStatus.CURRENT
    assert (await found.read(other, {})).status is HealthStatus.IN_PROGRESS
    assert found.covers(ObjectRef("", "Thing", "apps", "t"))
    assert not found.covers(ObjectRef("", "Other", "apps", "t"))
    assert await compiler.compile((), namespace="apps") is None


@pytest.mark.parametrize(
    ("checks", "problem"),
    [
        ([_check("status.")], r"spec\.healthCheckExprs\[0\]\.current: .*[Ss]yntax"),
        ([_check("true", failed="1 + 1")], r"\[0\]\.failed: must be true or false"),
        ([_check("true", in_progress="f(status)")], r"\[0\]\.inProgress: "),
        ([_check("")], r"\[0\]\.current: there is no expression"),
        ([_check("true"), _check("false", api_version="example.com/v2")], r"\[1\]: kind Thing of"),
        ([_check("true", kind=""), _check("true", kind="")], r"\[1\]: all kinds of group"),
    ],
    ids=["syntax", "type", "function", "none", "twice", "groups"],
)
async def test_what_can_never_work_is_refused_at_once(
    compiler: HealthCompiler, checks: list[CustomHealthCheck], problem: str
) -> None:
    with pytest.raises(InvalidExpressions, match=problem):
        await compiler.compile(checks, namespace="apps")


class _Evaluator(CelEvaluator):
    """Counts what it is asked, and fails as it is told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    async def check(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    async def first(self, *_: Any, **__: Any) -> int | None:
        await self.check()
        return 0


async def test_good_texts_are_remembered_and_bad_luck_is_no_verdict() -> None:
    evaluator = _Evaluator()
    compiler = HealthCompiler(CheckedConditions(evaluator))
    for _ in range(2):
        await compiler.compile([_check("true", failed="false")], namespace="apps")
    found = await _compiled(compiler, _check("true", failed="false"))
    assert evaluator.asked == 2

    evaluator.error = ExpressionFailed("takes longer than 5s", invalid=False)
    with pytest.raises(EvaluatorBusy, match="takes longer"):
        await compiler.compile([_check("1 == 1")], namespace="apps")
    evaluator.error = EvaluatorBusy("the CEL workers cannot be had")
    assert await found.read(_REF, {}) == Health(
        HealthStatus.UNKNOWN, "the CEL workers cannot be had", 2.0
    )


class _Cluster:
    """Has one Secret."""

    async def resource_for_kind(self, group: str, kind: str) -> Resource:
        assert (group, kind) == ("", "Secret")
        return SECRET

    async def get(self, resource: Resource, _: ObjectKey) -> JsonObject:
        metadata = {"namespace": "apps", "name": "s", "resourceVersion": "7"}
        data = {"password": base64.b64encode(b"hunter2!").decode()}
        return {"apiVersion": "v1", "kind": resource.kind, "metadata": metadata, "data": data}


@pytest.mark.parametrize("text", ["int(data.password) > 0", "data[data.password] == ''"])
async def test_what_is_said_of_a_secret_does_not_have_its_values(
    compiler: HealthCompiler, text: str
) -> None:
    check = _check(text, api_version="v1", kind="Secret")
    cluster: Any = _Cluster()
    owner = Owner("kustomize.toolkit.fluxcd.io", "Kustomization", "apps", "app")
    target = Target(cluster, cluster, owner, health=await _compiled(compiler, check))
    ref = ObjectRef("", "Secret", "apps", "s")
    reading = await read_health(target, ref, absent_is_success=False)

    assert reading.health.status is HealthStatus.UNKNOWN
    assert reading.health.message.startswith("spec.healthCheckExprs[0].current: ")
    assert base64.b64encode(b"hunter2!").decode() not in reading.health.message
    assert reading.version == "7"

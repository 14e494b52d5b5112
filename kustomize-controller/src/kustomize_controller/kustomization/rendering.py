"""From an artifact to the desired set: fetch, build, substitute, prepare."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from fluvial.apply import Masker, prepare_set
from fluvial.apply.masking import is_secret
from fluvial.artifact.errors import ArtifactError, ArtifactNotFound
from fluvial.artifact.fetcher import ExtractedTree, Fetcher
from fluvial.build.builder import Builder, BuildSpec
from fluvial.build.errors import BuildError
from fluvial.build.pace import Pace
from fluvial.build.postbuild import Substituted, apply_variables
from fluvial.objects import JsonObject, ref_of
from fluvial.paths import secure_join
from fluvial.runtime.outcome import Failed, Waiting
from kustomize_controller.kustomization import reasons
from kustomize_controller.kustomization.run import Run

__all__ = ["Renderer", "set_digest"]

_MAX_MASKING = 10_000_000
"""Characters times strings; beyond it the history counts the object by its name alone."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes desired sets.

    Attributes:
        fetcher: where artifacts come from.
        builder: makes objects of them.
        strict_substitution: unset variables are errors (gate StrictPostBuildSubstitutions).
        requeue_dependency: seconds until the next look for an artifact that is not there yet.
        build_timeout: seconds that one build may take.

    """

    fetcher: Fetcher
    builder: Builder
    strict_substitution: bool = True
    requeue_dependency: float = 30.0
    build_timeout: float = 120.0

    async def render(self, run: Run) -> tuple[JsonObject, ...]:
        """The desired set of a run; sets ``run.digest`` and ``status.lastAttemptedRevision``.

        Raises:
            Waiting: ArtifactFailed, the artifact is announced and not (any more) there.
            Failed: ArtifactFailed, BuildFailed, or DirectoryCreationFailed where there is no room
                for the artifact.

        """
        assert run.source is not None  # noqa: S101  # found by the step before
        try:
            async with self.fetcher.fetch(run.source.artifact) as tree:
                _check_path(tree.path, run.spec_of.spec.path)
                run.status.last_attempted_revision = run.revision
                built = await self._build(run, tree)
        except ArtifactNotFound as error:
            raise Waiting(
                reasons.ARTIFACT_FAILED,
                f"Source is not ready, artifact not found: {error}",
                after=self.requeue_dependency,
            ) from error
        except ArtifactError as error:
            raise Failed(reasons.ARTIFACT_FAILED, str(error)) from error
        except OSError as error:
            problem = error.strerror or type(error).__name__
            raise Failed(
                reasons.DIRECTORY_CREATION_FAILED,
                f"the artifact cannot be stored for the build: {problem}",
            ) from error
        common = run.spec_of.spec.common_metadata
        desired = await prepare_set(
            [one.object for one in built],
            owner=run.owner,
            common_labels=common.labels if common else None,
            common_annotations=common.annotations if common else None,
        )
        run.digest = await set_digest(built, desired)
        return desired

    async def _build(self, run: Run, tree: ExtractedTree) -> Sequence[Substituted]:
        assert run.config is not None  # noqa: S101  # read by a step before
        try:
            built = await self.builder.build(
                tree.path,
                BuildSpec.of(run.spec_of.spec),
                cache_key=tree.digest,
                timeout=self.build_timeout,
                dropped_links=tree.dropped_links,
            )
            post_build = run.spec_of.spec.post_build
            if post_build is None:
                return [Substituted(obj) for obj in built.objects]
            substituted = await apply_variables(
                built.objects,
                run.config.variables,
                strategy=post_build.substitute_strategy,
                strict=self.strict_substitution,
            )
        except BuildError as error:
            raise Failed(reasons.BUILD_FAILED, str(error)) from error
        secrets = frozenset().union(*(one.secrets for one in substituted))
        run.masker = await Masker.prepared(secrets)
        return substituted


async def set_digest(built: Sequence[Substituted], objects: Sequence[JsonObject]) -> str:
    """Digest of a desired set for the history, without anything that came from a Secret.

    A digest of a short secret could be reversed by trying, so values of Secrets and substituted
    secret strings do not enter it.

    Args:
        built: says which strings are secret.
        objects: the desired set made of ``built``, in its order.

    """
    digest, pace = hashlib.sha256(), Pace()
    for one, obj in zip(built, objects, strict=True):
        digest.update(_shown(obj, one.secrets))
        digest.update(b"\n")
        await pace.breathe()
    return f"sha256:{digest.hexdigest()}"


def _shown(obj: JsonObject, secrets: frozenset[str]) -> bytes:
    if is_secret(obj):
        obj = {k: v for k, v in obj.items() if k not in {"data", "stringData"}}
    text = orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)
    if len(text) * len(secrets) > _MAX_MASKING:
        return str(ref_of(obj)).encode()
    return Masker(secrets).text(text.decode()).encode() if secrets else text


def _check_path(root: Path, path: str) -> None:
    try:
        folder = secure_join(root, path)
    except ValueError as error:
        raise Failed(reasons.ARTIFACT_FAILED, f"spec.path: {error}") from error
    if not folder.is_dir():
        raise Failed(
            reasons.ARTIFACT_FAILED,
            f"kustomization path not found: {path!r} is no folder of the source",
        )

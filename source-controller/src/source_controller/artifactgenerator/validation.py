"""What a spec must not say, beyond what the API server refuses."""

from __future__ import annotations

from fluvial.api.source_extensions import ArtifactGenerator
from source_controller.artifactgenerator import pathpattern, reasons
from source_controller.artifactgenerator.pathpattern import PathPatternError
from source_controller.artifactgenerator.staging import split_alias
from source_controller.source.run import StepFailed

__all__ = ["validate"]


def validate(generator: ArtifactGenerator, *, cross_namespace: bool) -> None:
    """Check a spec.

    Args:
        generator: whose spec.
        cross_namespace: sources in other namespaces may be named.

    Raises:
        StepFailed: stalled: ``AccessDenied``, ``ValidationFailed``, or ``BuildFailed`` for a
            pathPattern, as in Flux.

    """
    aliases = _check_sources(generator, cross_namespace=cross_namespace)
    names: set[str] = set()
    for output in generator.spec.artifacts:
        if output.name in names:
            raise _invalid(f"duplicate artifact name '{output.name}' found")
        names.add(output.name)
        if not generator.spec.path_pattern and not pathpattern.is_object_name(output.name):
            raise _invalid(f"artifact name {output.name!r} is not the name of an object")
        alias = (output.revision or "@").removeprefix("@")
        if alias and alias not in aliases:
            raise _invalid(f"artifact {output.name} revision source alias '{alias}' not found")
    _check_path_pattern(generator, aliases)


def _check_sources(generator: ArtifactGenerator, *, cross_namespace: bool) -> set[str]:
    aliases: set[str] = set()
    own = generator.metadata.namespace
    for source in generator.spec.sources:
        if source.alias in aliases:
            raise _invalid(f"duplicate source alias '{source.alias}' found")
        aliases.add(source.alias)
        if not cross_namespace and source.namespace not in {None, own}:
            raise StepFailed(
                "",
                reasons.ACCESS_DENIED,
                "cross-namespace reference to source"
                f" {source.kind}/{source.namespace}/{source.name} is not allowed",
                kind="stalled",
            )
    return aliases


def _check_path_pattern(generator: ArtifactGenerator, aliases: set[str]) -> None:
    text = generator.spec.path_pattern
    if not text:
        return
    alias, pattern = split_alias(text)
    if alias not in aliases:
        raise _bad_pattern(f"pathPattern {text!r}: there is no source {alias!r}")
    try:
        pathpattern.check_pattern(pattern)
    except PathPatternError as error:
        raise _bad_pattern(str(error)) from error


def _bad_pattern(problem: str) -> StepFailed:
    message = f"failed to expand path pattern: {problem}"
    return StepFailed("", reasons.BUILD_FAILED, message, kind="stalled")


def _invalid(message: str) -> StepFailed:
    return StepFailed("", reasons.VALIDATION_FAILED, message, kind="stalled")

"""Which tag of many: version ranges and filters, by Flux's rules."""

from __future__ import annotations

from collections.abc import Iterable

import re2

from fluvial.semver import InvalidVersion, Range, Version
from source_controller.oci.errors import InvalidReference, NoMatch

__all__ = ["HELM_CHART_LAYER", "choose_version"]

HELM_CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_MAX_PATTERN = 4096


def choose_version(
    tags: Iterable[str], range_text: str, *, pattern: str = "", plus_as_underscore: bool = False
) -> str:
    """The tag with the highest version in a range.

    Args:
        tags: candidates; those that are no version of three numbers are passed over.
        range_text: such as ``>=1.0.0 <2.0.0``.
        pattern: RE2 expression that must be found somewhere in a tag; ``""`` for any tag.
        plus_as_underscore: whether ``_`` in a tag stands for the ``+`` that tags cannot have, as
            in tags of Helm charts.

    Returns:
        The tag as the registry has it. Of several with the same precedence the one that is last
        in alphabetical order.

    Raises:
        InvalidReference: the range or the pattern cannot be read.
        NoMatch: no tag fits.

    """
    try:
        wanted = Range.parse(range_text)
    except InvalidVersion as error:
        raise InvalidReference(f"spec.ref.semver: {error}") from error
    matches = _filter(pattern)
    best: tuple[Version, str] | None = None
    for tag in tags:
        if matches is not None and matches.search(tag) is None:
            continue
        try:
            version = Version.parse_full(tag.replace("_", "+") if plus_as_underscore else tag)
        except InvalidVersion:
            continue
        if version in wanted and (best is None or best < (version, tag)):
            best = (version, tag)
    if best is None:
        through = f" among the tags that match {pattern!r}" if pattern else ""
        raise NoMatch(f"no tag is a version in the range {range_text!r}{through}")
    return best[1]


def _filter(pattern: str) -> re2.Pattern | None:
    if not pattern:
        return None
    if len(pattern) > _MAX_PATTERN:
        raise InvalidReference(f"spec.ref.semverFilter is longer than {_MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        raise InvalidReference("spec.ref.semverFilter is not a valid RE2 expression") from error

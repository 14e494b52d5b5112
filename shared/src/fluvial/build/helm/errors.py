"""Why a chart does not become manifests.

    BuildError
    └── RenderError ............. the chart or the values must change
        ├── ChartInvalid ........ no chart, a hostile archive, or a chart for other clusters
        ├── ValuesRefused ....... the values do not fit the chart's schema
        ├── TemplateFailed ...... a template fails; says the file and the line
        ├── RenderTooLarge ...... more text than a release can have
        └── RenderTimeout ....... it did not end in time and was killed (also a BuildTimeout)

``EngineFailed`` (of the room above) says that the engine itself died or could not start. Messages
are the engine's own, shortened, and without what the caller named as secret.
"""

from __future__ import annotations

from fluvial.build.errors import BuildError, BuildTimeout

__all__ = [
    "ChartInvalid",
    "RenderError",
    "RenderTimeout",
    "RenderTooLarge",
    "TemplateFailed",
    "ValuesRefused",
]


class RenderError(BuildError):
    """A chart does not become manifests; trying again with the same input does not help."""


class ChartInvalid(RenderError):
    """The archive is no chart that can be used here."""


class ValuesRefused(RenderError):
    """The values do not fit the chart's schema."""


class TemplateFailed(RenderError):
    """A template fails, or gives text that is not YAML."""


class RenderTooLarge(RenderError):
    """The templates give more text than allowed."""


class RenderTimeout(RenderError, BuildTimeout):
    """Rendering took too long and was killed."""

"""The root of every error this library raises.

    FluvialError
    ├── kube.errors.ApiError ............. the API server said no, or could not be asked
    ├── runtime.outcome.{Stalled, Waiting, Ignored, Failed} ... how a reconcile ends
    ├── workers.errors.WorkerError ....... a child process refused, died or ran out of time
    ├── artifact.errors.ArtifactError .... an artifact is missing, altered, too large or unsafe
    ├── build.errors.BuildError .......... sources that do not become objects
    ├── apply.errors.ApplyError .......... objects that do not become cluster state
    └── helm.errors.HelmError ............ releases that are not what they should be

A message is written for the person who reads it in a status: it says what is wrong and what to
do, and it never contains a secret.
"""

from __future__ import annotations

__all__ = ["FluvialError"]


class FluvialError(Exception):
    """Root of the tree; ``str(error)`` is safe to show to a tenant."""

"""The admission steps of a cluster, in order."""

from __future__ import annotations

from devcluster.admission.basics import (
    DefinitionLifecycle,
    NamespaceLifecycle,
    definition_fields,
    lease_fields,
    namespace_fields,
    secret_fields,
    volume_fields,
)
from devcluster.admission.nodes import node_taints
from devcluster.admission.pods import PodAdmission
from devcluster.admission.services import ServiceAddresses
from devcluster.admission.warnings import warn
from devcluster.admission.workloads import daemon_set_generation, job_selector
from devcluster.store import Store
from devcluster.writes import Hook

__all__ = ["conversions", "standard_hooks"]


def standard_hooks(store: Store) -> list[Hook]:
    """For ``Writer``; those that keep state listen to ``store``."""
    return [
        NamespaceLifecycle(store),
        DefinitionLifecycle(store),
        namespace_fields,
        secret_fields,
        definition_fields,
        lease_fields,
        volume_fields,
        ServiceAddresses(store),
        PodAdmission(store),
        job_selector,
        node_taints,
        warn,
    ]


def conversions() -> list[Hook]:
    """What the writer of an object comes to own though it did not send it."""
    return [daemon_set_generation]

"""Helm releases without Helm: rendered manifests in, release life cycle and cluster state out.

api kinds are in ``fluvial.api.helm``; templates are rendered by ``fluvial.build``; here is the rest,
from the bottom up::

    gojson, goyaml .... bytes exactly as Go writes them, because digests are made of them
    release ........... the record of one revision
    record ............ the record as text in a Secret, read with suspicion
    storage ........... the records of a namespace: history, create as lock, limit, observation
    digests ........... of values and of releases, and whether a snapshot still holds
    history ........... the snapshots in a HelmRelease's status
    policy, facts ..... what the spec says, and the words for what was observed
    observing ......... an object and its newest record become facts
    state ............. what was observed of a release -> what to do next; nothing but functions
    strvals, values ... valuesFrom and inline values become one map
    kinds, manifest ... a rendered manifest becomes objects and hooks, in order
    ownership ......... whose an object is, as Helm marks it
    making, options ... the next revision, and how the spec wants it done
    steps ............. what an action has done last, and what its hooks have written
    cluster ........... a release's objects: found, applied, deleted, as the tenant
    clientside ........ patches out of three versions, where the client applies objects
    legacy ............ readiness as Helm 3 saw it
    output ............ logs of hooks, masked
    waiting, hooks .... until they are ready; what is run before and after
    crds .............. definitions that a chart brings
    carrying .......... an action as far as it touches objects
    lifecycle ......... install, upgrade, roll back
    ending ............ test, unlock, uninstall
    recordwatch ....... being woken when somebody else changes a record
    inventory ......... the objects of a release for its status
    selectors, pointers, drift ... whether objects are as released, and what makes them so
    preview ........... what an install or upgrade would do, writing nothing

How a reconciler uses it: ``state.decide`` says what to do; the revision that it starts from comes
from ``Lifecycle.current`` and ``next_version``; the chart is rendered with these; ``new_release``
makes the revision, and ``Lifecycle`` or ``Ending`` acts. What was written is told by the storage's
observer and becomes the status by ``history.recorded``. Actions are coroutines that last as long
as hooks and waits do: they are run beside the workers, one for a release at a time.

Nothing here knows conditions, events or queues. All errors are ``HelmError``.
"""

from __future__ import annotations

__all__: list[str] = []

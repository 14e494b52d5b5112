"""Objects in, cluster state out: plan, apply, prune, health. Everything as the tenant.

How a reconciler uses this room, top-down::

    target = Target(client=tenant, mapper=mapper, owner=owner, masker=Masker(secret_strings))
    desired = await prepare_set(objects, owner=owner, common_labels=..., common_annotations=...)
    old = Inventory.from_status(status.inventory)

    result = await apply_set(                                     # StageRejected, StageFailed ...
        target, desired, inventory=old, known=known,
        write_ahead=store_inventory, options=ApplyOptions(force=spec.force),
    )
    stale = old.subtract(result.inventory)
    pruned = await Pruner(target).prune(stale) if spec.prune else PruneResult(())
    store_inventory(result.inventory.union(pruned.kept))
    pruned.raise_failures()                                       # PruneFailed

    waiter.start(WaitRequest(key=key, attempt=attempt, refs=result.health_refs(), ...))
    # the worker is free; the waiter calls done(key), the reconcile comes back and asks
    outcome = waiter.result(key, attempt)

``known`` (a ``Verified``) is kept in memory for each owner. On a timer reconcile with the same
set, ``known.covers(digest)`` after ``suspect_changed`` says that nothing need be done; after a
complete run call ``known.complete(digest)``. ``requestedAt`` runs with
``ApplyOptions(trust_known=False)``.

Nothing here knows conditions, events or queues. All errors are ``ApplyError`` with a message for
the person who reads it in ``Ready``.
"""

from fluvial.apply.apply import Applier
from fluvial.apply.deletion import (
    deletes_on_removal,
    still_there,
    wait_for_termination,
    waits_for_termination,
)
from fluvial.apply.diff import Difference, ObjectDiff
from fluvial.apply.errors import (
    ApplyError,
    Failure,
    FailureReason,
    InvalidDesired,
    InvalidEntry,
    PruneFailed,
    StageFailed,
    StageNotReady,
    StageRejected,
)
from fluvial.apply.expressions import HealthCompiler, HealthExpressions
from fluvial.apply.failures import asked_to_wait
from fluvial.apply.health import Health, HealthStatus, aggregate, compute_status
from fluvial.apply.inventory import Entry, Inventory, decode_id, encode_id
from fluvial.apply.masking import Masker
from fluvial.apply.model import (
    Action,
    ApplyOptions,
    ApplyResult,
    Change,
    ChangeSet,
    Known,
    Owner,
    PlannedChange,
    Target,
    Verified,
    change_log,
)
from fluvial.apply.observe import suspect_changed
from fluvial.apply.order import Stage, stages
from fluvial.apply.owned import OwnedObserver, OwnedWatches
from fluvial.apply.owned_kinds import WatchLimits
from fluvial.apply.plan import Planner
from fluvial.apply.prepare import prepare, prepare_set
from fluvial.apply.prune import PruneOutcome, Pruner, PruneResult, Pruning
from fluvial.apply.staged import WriteAhead, apply_set, plan_set
from fluvial.apply.waiter import HealthWaiter
from fluvial.apply.waits import WaiterTiming, WaitRequest, WaitResult

__all__ = [
    "Action",
    "Applier",
    "ApplyError",
    "ApplyOptions",
    "ApplyResult",
    "Change",
    "ChangeSet",
    "Difference",
    "Entry",
    "Failure",
    "FailureReason",
    "Health",
    "HealthCompiler",
    "HealthExpressions",
    "HealthStatus",
    "HealthWaiter",
    "InvalidDesired",
    "InvalidEntry",
    "Inventory",
    "Known",
    "Masker",
    "ObjectDiff",
    "OwnedObserver",
    "OwnedWatches",
    "Owner",
    "PlannedChange",
    "Planner",
    "PruneFailed",
    "PruneOutcome",
    "PruneResult",
    "Pruner",
    "Pruning",
    "Stage",
    "StageFailed",
    "StageNotReady",
    "StageRejected",
    "Target",
    "Verified",
    "WaitRequest",
    "WaitResult",
    "WaiterTiming",
    "WatchLimits",
    "WriteAhead",
    "aggregate",
    "apply_set",
    "asked_to_wait",
    "change_log",
    "compute_status",
    "decode_id",
    "deletes_on_removal",
    "encode_id",
    "plan_set",
    "prepare",
    "prepare_set",
    "stages",
    "still_there",
    "suspect_changed",
    "wait_for_termination",
    "waits_for_termination",
]

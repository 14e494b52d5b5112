"""The words in which it is decided what becomes of a release: states, actions, facts, steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from fluvial.api.helm_status import Snapshot
from fluvial.helm.history import History
from fluvial.helm.release import Status

__all__ = ["Action", "Attempts", "Drift", "Facts", "Kind", "State", "Step", "Target"]


class State(StrEnum):
    """What a release is, compared with what is wanted."""

    ABSENT = "Absent"
    LOCKED = "Locked"
    INTERRUPTED = "Interrupted"
    UNMANAGED = "Unmanaged"
    FAILED = "Failed"
    OUT_OF_SYNC = "OutOfSync"
    UNTESTED = "Untested"
    NOT_COMPARED = "NotCompared"
    DRIFTED = "Drifted"
    IN_SYNC = "InSync"
    ERROR = "Error"


class Kind(StrEnum):
    """Kinds of actions, each of which is done at most once a round."""

    RELEASE = "release"
    REMEDIATE = "remediate"
    TEST = "test"
    UNLOCK = "unlock"
    DRIFT = "drift correction"
    LOOK = "look"
    END = "end"


class Action(StrEnum):
    """What to do."""

    INSTALL = "install"
    UPGRADE = "upgrade"
    TEST = "test"
    ROLLBACK = "rollback"
    UNINSTALL = "uninstall"
    UNLOCK = "unlock"
    FINISH_UNINSTALL = "finish uninstall"
    CORRECT_DRIFT = "correct cluster drift"

    COMPARE = "compare with the cluster"
    CHECK_TARGET = "check the revision to roll back to"

    DONE = "done"
    TELL_DRIFT = "tell of drift"
    REQUEUE = "requeue at once"
    RETRY_LATER = "retry after the interval"
    STALL_RETRIES = "RetriesExceeded"
    STALL_NO_TARGET = "MissingRollbackTarget"
    ERROR = "StateError"

    @property
    def kind(self) -> Kind:
        """What counts as doing the same again."""
        return _KINDS.get(self, Kind.END)


_KINDS: Final[dict[Action, Kind]] = {
    Action.INSTALL: Kind.RELEASE,
    Action.UPGRADE: Kind.RELEASE,
    Action.TEST: Kind.TEST,
    Action.ROLLBACK: Kind.REMEDIATE,
    Action.UNINSTALL: Kind.REMEDIATE,
    Action.UNLOCK: Kind.UNLOCK,
    Action.FINISH_UNINSTALL: Kind.UNLOCK,
    Action.CORRECT_DRIFT: Kind.DRIFT,
    Action.COMPARE: Kind.LOOK,
    Action.CHECK_TARGET: Kind.LOOK,
}


class Drift(StrEnum):
    """Whether objects differ from the release."""

    NOT_COMPARED = "not compared"
    NONE = "none"
    FOUND = "found"


class Target(StrEnum):
    """Whether the revision to roll back to is as it was."""

    NOT_CHECKED = "not checked"
    INTACT = "intact"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was observed, reduced to what decides.

    Attributes:
        last: the newest record's status; ``None`` where there is no record.
        history: the status' snapshots, the newest first.
        unobserved: why the newest record is not that of the newest snapshot, ``""`` if it is.
        difference: why what is deployed is not what is wanted, ``""`` if it is.
        drift: what comparing with the cluster has shown.
        target: what looking at the revision to roll back to has shown.
        cut_off: the newest record was left pending by a process that ended, and is failed since.

    """

    last: Status | None
    history: History = ()
    unobserved: str = ""
    difference: str = ""
    drift: Drift = Drift.NOT_COMPARED
    target: Target = Target.NOT_CHECKED
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Attempts:
    """What was tried.

    Attributes:
        last_action: the last release action, which decides whose remedy is active.
        install_failures: since the desired state changed.
        upgrade_failures: likewise.
        forced: whether somebody asks for a release by force.
        done: the kinds of actions that were done in this round.

    """

    last_action: Literal["", "install", "upgrade"] = ""
    install_failures: int = 0
    upgrade_failures: int = 0
    forced: bool = False
    done: frozenset[Kind] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next.

    Attributes:
        action: what.
        state: of the release, which led to it.
        reason: why the release is in that state.
        history: what the status' history is to be before the action.
        target: the revision to roll back to, or to look at.
        adopt_if_same: do nothing but take a snapshot if an upgrade would change nothing.
        retry_seconds: when to try again, for ``RETRY_LATER``.
        attempts: how many have failed, for ``STALL_RETRIES``.

    """

    action: Action
    state: State
    reason: str
    history: History
    target: Snapshot | None = None
    adopt_if_same: bool = False
    retry_seconds: float = 0.0
    attempts: int = 0

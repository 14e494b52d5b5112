"""Signatures: which ones the spec wants, and what becomes of the answer.

The check itself is made in the git process, before a file is written. What was verified under the
same mode and keys in this process's life is not fetched again for it; anything else is, so that a
key that was taken out of the Secret loses its force at the next interval.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from fluvial.api.source import GitRepositoryRef
from fluvial.kube.client import KubeClient
from fluvial.objects import ObjectKey
from fluvial.runtime.events import EventRecorder
from source_controller.git.client import NotVerified
from source_controller.git.model import Checkout, Verification
from source_controller.gitrepository.reasons import INVALID_VERIFICATION_MODE, VERIFICATION_ERROR
from source_controller.gitrepository.run import GitRun
from source_controller.source import reasons
from source_controller.source.run import FailureClass, StepFailed
from source_controller.source.secrets import read_secret

__all__ = ["VerifyStep"]

_TAGS = "refs/tags/"
_MAX_KNOWN = 10_000


class VerifyStep:
    """Says what is to be verified, and reports it.

    Args:
        client: reads the Secret, live, in the object's own namespace.
        events: tells of each verified revision.

    """

    def __init__(self, client: KubeClient, events: EventRecorder) -> None:
        self._client = client
        self._events = events
        self._known: OrderedDict[ObjectKey, _Known] = OrderedDict()

    async def wanted(self, run: GitRun) -> Verification | None:
        """The signatures that the spec wants.

        Raises:
            StepFailed: ``InvalidVerificationMode``, stalled: a tag's signature is wanted and the
                reference is no tag. ``VerificationError``: the Secret is missing or unreadable.

        """
        spec = run.obj.spec.verify
        if spec is None:
            return None
        tag, commit = spec.mode in {"Tag", "TagAndHEAD"}, spec.mode != "Tag"
        if tag and not _is_tag(run.obj.spec.ref):
            raise _failed(
                INVALID_VERIFICATION_MODE,
                "cannot verify the tag object's signature: spec.ref names no tag",
                kind="stalled",
            )
        key = ObjectKey(run.key.namespace, spec.secret_ref.name)
        try:
            data = await read_secret(self._client, key, field="spec.verify.secretRef")
        except StepFailed as error:
            raise _failed(VERIFICATION_ERROR, f"public keys secret error: {error}") from error
        keys = {name: value.decode(errors="replace") for name, value in data.items()}
        return Verification(tag=tag, commit=commit, keys=keys)

    def holds(self, run: GitRun, wanted: Verification | None) -> bool:
        """Whether the stored artifact was verified just as is wanted now."""
        if wanted is None:
            return True
        known = self._known.get(run.key)
        revision = run.artifact.revision if run.artifact else ""
        return known is not None and known.basis == (_uid(run), revision, _digest(wanted))

    def report(self, run: GitRun, wanted: Verification | None, checkout: Checkout) -> None:
        """Set ``SourceVerified``, or remove it where nothing is to be verified."""
        if wanted is None:
            self._known.pop(run.key, None)
            run.clear(reasons.SOURCE_VERIFIED)
            run.observe(sourceVerificationMode=None)
            return
        if not checkout.unchanged:
            lines = "".join(f"\n\t- {item}" for item in checkout.verified)
            basis = (_uid(run), checkout.revision, _digest(wanted))
            message = f"verified signature of{lines}"
            self._remember(run.key, _Known(basis, message))
            self._events.event(run.live, type="Trace", reason=reasons.SUCCEEDED, message=message)
        mode = "TagAndHEAD" if wanted.tag and wanted.commit else "Tag" if wanted.tag else "HEAD"
        run.observe(sourceVerificationMode=mode)
        run.set_true(reasons.SOURCE_VERIFIED, reasons.SUCCEEDED, self._known[run.key].message)

    def refused(self, run: GitRun, error: NotVerified) -> StepFailed:
        """The failure for a signature that does not hold."""
        self._known.pop(run.key, None)
        return _failed(error.reason, str(error))

    def _remember(self, key: ObjectKey, known: _Known) -> None:
        self._known[key] = known
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """What was verified: uid of the object, revision, and a digest of the mode and the keys."""

    basis: tuple[str, str, str]
    message: str


def _is_tag(ref: GitRepositoryRef | None) -> bool:
    if ref is None or ref.commit:
        return False
    if ref.name:
        return ref.name.startswith(_TAGS)
    return bool(ref.tag or ref.semver)


def _uid(run: GitRun) -> str:
    return str(run.live["metadata"]["uid"])


def _digest(wanted: Verification) -> str:
    return hashlib.sha256(msgspec.json.encode(wanted, order="sorted")).hexdigest()


def _failed(reason: str, message: str, *, kind: FailureClass = "retry") -> StepFailed:
    return StepFailed(reasons.SOURCE_VERIFIED, reason, message, kind=kind, status="False")

"""A guard around code that reads what strangers wrote.

Certificates, keys and envelopes make libraries raise errors of many kinds, some with no root but
``Exception``. None of them may end more than the one check: neither hide the next signature nor
leave a reconcile without a status.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fluvial.artifact.threads import Cancelled
from fluvial.errors import FluvialError
from source_controller.oci.errors import VerificationFailed

__all__ = ["only_refusals"]


@contextmanager
def only_refusals(what: str) -> Iterator[None]:
    """Turn whatever was not foreseen into a refusal.

    Args:
        what: cannot be read, for the message.

    Raises:
        VerificationFailed: instead of any error that is neither ours nor the system's.

    """
    try:
        yield
    except (FluvialError, OSError, Cancelled):
        raise
    except Exception as error:
        raise VerificationFailed(f"{what} cannot be read") from error

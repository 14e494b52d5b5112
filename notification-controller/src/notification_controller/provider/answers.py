"""What an answer that is no success, or a connection that fails, says of another try."""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

import aiohttp

__all__ = ["is_temporary", "tls_problem", "wait_of"]

_TEMPORARY = frozenset({408, 425, 429})
_LONGEST_WAIT = 600.0


def is_temporary(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the same request may be taken later.

    GitHub says by 403, too, that there were too many requests:
    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api.
    """
    if status == 403:
        return "Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0"
    return status in _TEMPORARY or status >= 500


def wait_of(headers: Mapping[str, str]) -> float:
    """Seconds that an answer asks to wait (RFC 9110, 10.2.3), 0 if it does not; ten minutes at most.

    Moments are compared with the one that the answer itself was sent at: no clock but the service's
    counts.
    """
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        seconds = _until(_date(text), headers)
    if not text and headers.get("X-RateLimit-Remaining") == "0":
        seconds = _until(_stamp(headers.get("X-RateLimit-Reset", "")), headers)
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_WAIT)


def tls_problem(error: BaseException | None) -> str:
    """What went wrong with TLS, ``""`` if it was not TLS.

    Args:
        error: such as aiohttp's, which wraps that of TLS.

    """
    found = _tls_error(error)
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {found.verify_message or 'it cannot be verified'}"
    if found is not None:
        reason = (found.reason or "it broke off").replace("_", " ").lower()
        return f"no TLS with the service: {reason}"
    return ""


def _until(stamp: float, headers: Mapping[str, str]) -> float:
    sent = _date(headers.get("Date", ""))
    return stamp - sent if stamp and sent else 0.0


def _date(text: str) -> float:
    try:
        moment: datetime = parsedate_to_datetime(text)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _stamp(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0.0


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    seen: set[int] = set()
    pending = [error]
    while pending:
        item = pending.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        # Some of aiohttp's own are errors of TLS by name, without what these say.
        if isinstance(item, ssl.SSLError) and not isinstance(item, aiohttp.ClientError):
            return item
        pending += [
            getattr(item, "os_error", None),
            getattr(item, "certificate_error", None),
            item.__cause__,
            item.__context__,
        ]
    return None

"""How much is taken from a registry, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one fetch; sizes in bytes, times in seconds.

    Attributes:
        max_manifest: one manifest or index.
        max_blob: one layer, compressed.
        max_small_blob: a signature's payload or bundle.
        max_answer: token, error or page of tags.
        max_list: all pages of one list.
        max_tags: of one repository.
        max_pages: of one list.
        max_redirects: of one request.
        max_children: manifests that one index names.
        answer_seconds: a request whose answer is kept in memory, and the head of any other.
        attempts: of one request, the first included.
        slow_after: seconds until the rate of a download counts.
        min_rate: bytes per second below which a download is given up.

    """

    max_manifest: int = 4 * _MIB
    max_blob: int = 512 * _MIB
    max_small_blob: int = 4 * _MIB
    max_answer: int = 4 * _MIB
    max_list: int = 16 * _MIB
    max_tags: int = 100_000
    max_pages: int = 1000
    max_redirects: int = 5
    max_children: int = 1000
    answer_seconds: float = 60.0
    attempts: int = 3
    slow_after: float = 30.0
    min_rate: int = 4096

"""Decompressing what a server sends, without believing what it says about sizes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

__all__ = ["Gunzip"]

_PIECE = 1 << 18
_MAX_STREAMS = 10_000


class Gunzip:
    """One gzip stream, or several in a row, fed block by block.

    ``feed`` gives pieces of 256 KiB at most, so that whoever counts them can stop before more is
    made, and no piece takes longer than a millisecond.
    """

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._any = False
        self._streams = 1

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The next pieces of content.

        Raises:
            zlib.error: this is not gzip.

        """
        while block:
            self._any = True
            if self._stream.eof:
                self._streams += 1
                if self._streams > _MAX_STREAMS:
                    raise zlib.error("too many streams")  # empty ones cost time and no byte
                self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            piece = self._stream.decompress(block, _PIECE)
            block = self._stream.unconsumed_tail or self._stream.unused_data
            if piece:
                yield piece

    @property
    def complete(self) -> bool:
        """Whether the stream has ended where it should."""
        return self._stream.eof or not self._any

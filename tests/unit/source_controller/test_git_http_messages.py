"""Where messages of HTTP end, and what ends the connection instead."""

from __future__ import annotations

from io import BufferedReader, BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_controller.git.http import BadMessage, read_head, write_body


class Sent:
    def __init__(self) -> None:
        self.data = b""

    def sendall(self, data: bytes, /) -> None:
        self.data += data


def passed(message: bytes) -> tuple[bytes, bool, bytes]:
    """What is passed on as the body of a response, whether more may follow, and what is left."""
    source, sent = BufferedReader(BytesIO(message)), Sent()
    head = read_head(source)
    assert head is not None
    more = write_body(source, sent, head, response=True)
    return sent.data, more, source.read()


@pytest.mark.parametrize(
    "message",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 999 x\r\n\r\n",
        b"HTTP/1.1 " + b"2" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"x" * (17 << 10) + b"\r\n\r\n",
    ],
)
def test_what_is_malformed_ends_the_connection(message: bytes) -> None:
    with pytest.raises(BadMessage):
        passed(message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcNEXT", (b"abc", True, b"NEXT")),
        (b"HTTP/1.1 204 No\r\n\r\nNEXT", (b"", True, b"NEXT")),
        (b"HTTP/1.1 100 Go\r\n\r\nNEXT", (b"", True, b"NEXT")),
        (b"HTTP/1.0 200 OK\r\n\r\nall", (b"all", False, b"")),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: 1\r\n\r\nN",
            (b"3;x=y\r\nabc\r\n0\r\nt: 1\r\n\r\n", True, b"N"),
        ),
    ],
)
def test_a_body_ends_where_its_head_says(
    message: bytes, expected: tuple[bytes, bool, bytes]
) -> None:
    assert passed(message) == expected


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for start in (
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ):
        try:
            head = read_head(BufferedReader(BytesIO(start + data)))
            if head is not None:
                passed(start + data)
        except BadMessage:
            continue

"""Every connection of the git process: a port of its own that leads to one host at a time.

libgit2 uses a proxy for https alone, knows no client certificates, and keeps trust for the whole
process. It therefore speaks plain HTTP or SSH to this port, and never more. The relay asks the
gateway for the host, does TLS with the trust and the client certificate of this one fetch, and
passes messages on under the real host's name. A redirect stays within the scheme, host and port.
An SSH host key is judged by the real host's name too.

Whoever connects gets this fetch's way out and its client certificate. So only connections that this
very process made are served: the kernel knows both ends of each by their ports.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, urljoin, urlsplit

from fluvial.net.fields import SCHEME_FIELD
from source_controller.git.http import BadMessage, Head, read_head, write_body

__all__ = ["Destination", "Relay"]

_LOOPBACK = "127.0.0.1"
_CHUNK = 64 << 10
_PAUSE_SECONDS = 0.05
_MAX_DESCRIPTORS = 1024
_CERTIFICATE_HINT = ": it may want a client certificate, tls.crt and tls.key of the Secret"
_HOP_BY_HOP = (b"host", b"proxy-authorization", b"proxy-connection")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where connections lead.

    Attributes:
        scheme: ``http``, ``https`` or ``ssh``.
        host: name or address, without brackets.
        port: TCP port.
        gateway: URL of a route, password included.
        tls: trust and client certificate, for https.
        timeout: seconds that a read or a write may take.

    """

    scheme: str
    host: str
    port: int
    gateway: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    timeout: float = 60.0

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> bytes:
        """As the Host field has it, without the usual port."""
        usual = {"http": 80, "https": 443}.get(self.scheme)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == usual else f"{host}:{self.port}").encode()


class Relay:
    """Listens from the start: a fenced process can open no port any more.

    Attributes:
        port: on loopback.
        problem: what went wrong with the last connection, for people; ``""`` for nothing.

    """

    def __init__(self) -> None:
        self._listener = socket.create_server((_LOOPBACK, 0))
        self._destination: Destination | None = None
        self.port: int = self._listener.getsockname()[1]
        self.problem = ""
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def aim(self, destination: Destination) -> None:
        """Let the connections from now on lead to a host."""
        self.problem = ""
        self._destination = destination

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError as error:  # one that broke off, or no descriptor is free: it passes
                if error.errno == errno.EBADF:
                    return
                time.sleep(_PAUSE_SECONDS)
                continue
            destination = self._destination
            if destination is None or not _is_ours(near):
                near.close()
                continue
            try:
                threading.Thread(
                    target=self._serve, args=(near, destination), name="relay-to", daemon=True
                ).start()
            except RuntimeError:  # no thread can be started
                near.close()

    def _serve(self, near: socket.socket, destination: Destination) -> None:
        near.settimeout(destination.timeout)
        with near:
            try:
                with _connected(destination) as far:
                    if destination.scheme == "ssh":
                        _join(near, far)
                    else:
                        _Exchange(self, destination, near, far).run()
            except ssl.SSLError as error:
                self.problem = _tls_problem(destination.host, error)
            except (BadMessage, _Refused) as error:
                self.problem = str(error)
            except OSError:
                return  # the other side says why, or the gateway does


def _is_ours(near: socket.socket) -> bool:
    """Whether the other end of a connection on loopback is a socket of this process."""
    try:
        ends = (near.getpeername(), near.getsockname())
    except OSError:
        return False
    return any(_ends(number) == ends for number in range(_MAX_DESCRIPTORS))


def _ends(number: int) -> tuple[object, object] | None:
    """Own and other address of the socket behind a descriptor; ``None`` if there is none."""
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            return None
        found = socket.socket(fileno=number)
    except OSError:
        return None
    try:
        return found.getsockname(), found.getpeername()
    except OSError:
        return None
    finally:
        found.detach()


class _Refused(Exception):
    """A message is not passed on; the text says why."""


class _Exchange:
    """Requests and responses over one connection, until one side ends it."""

    def __init__(
        self, relay: Relay, destination: Destination, near: socket.socket, far: socket.socket
    ) -> None:
        self._destination = destination
        self._own = f"http://{_LOOPBACK}:{relay.port}"
        self._near, self._far = near, far
        self._requests = near.makefile("rb")
        self._responses = far.makefile("rb")

    def run(self) -> None:
        while (request := read_head(self._requests)) is not None:
            fields = [(b"Host", self._destination.authority), *request.without(*_HOP_BY_HOP)]
            request = Head(request.first, fields)
            self._far.sendall(request.encode())
            write_body(self._requests, self._far, request, response=False)
            if not self._answer(request) or request.closes:
                return

    def _answer(self, request: Head) -> bool:
        """Pass on the response; whether the connection can carry another."""
        while True:
            response = read_head(self._responses)
            if response is None:
                hint = _CERTIFICATE_HINT if self._destination.tls else ""
                raise BadMessage(f"the server ended the connection without an answer{hint}")
            status = response.status
            if 300 <= status < 400 and response.get(b"location"):
                path = request.first.split(b" ")[1].decode("latin-1")
                response = self._redirect(response, path)
            self._near.sendall(response.encode())
            more = write_body(self._responses, self._near, response, response=True)
            if status >= 200:
                return more and not response.closes

    def _redirect(self, response: Head, path: str) -> Head:
        """The response with its Location leading to the relay.

        Raises:
            _Refused: it leads elsewhere.

        """
        to = self._destination
        base = f"{to.scheme}://{to.authority.decode()}{path}"
        try:
            target = urlsplit(urljoin(base, response.get(b"location").decode("latin-1")))
            origin = (target.scheme, target.hostname, target.port or _usual_port(target.scheme))
        except ValueError:
            raise BadMessage("the server redirects to an address that cannot be read") from None
        if origin != (to.scheme, to.host.lower(), to.port) or target.username is not None:
            raise _Refused(
                f"the server redirects to {target.scheme}://{target.hostname or ''}, which is"
                " refused: set spec.url to the final address"
            )
        kept = target._replace(scheme="", netloc="").geturl()
        location = (b"Location", f"{self._own}{kept}".encode("latin-1"))
        return Head(response.first, [*response.without(b"location"), location])


def _usual_port(scheme: str) -> int | None:
    return {"http": 80, "https": 443}.get(scheme)


@contextlib.contextmanager
def _connected(to: Destination) -> Iterator[socket.socket]:
    """A connection to the host by the gateway, with TLS where the scheme wants it."""
    parts = urlsplit(to.gateway)
    gateway = (parts.hostname or "", parts.port or 0)
    with socket.create_connection(gateway, timeout=to.timeout) as plain:
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        plain.sendall(
            f"CONNECT {to.address} HTTP/1.1\r\nProxy-Authorization: Basic {pair}\r\n"
            f"{SCHEME_FIELD}: {to.scheme}\r\n\r\n".encode()
        )
        if not _answer_of_gateway(plain).startswith(b"HTTP/1.1 200"):
            raise ConnectionRefusedError
        if to.scheme != "https":
            yield plain
            return
        assert to.tls is not None  # noqa: S101  # https has a context
        with to.tls.wrap_socket(plain, server_hostname=to.host) as secure:
            yield secure


def _answer_of_gateway(plain: socket.socket) -> bytes:
    """Its head, and not a byte more: what follows is the host's."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = plain.recv(1)
        if not byte or len(head) > _CHUNK:
            raise ConnectionResetError
        head += byte
    return head


def _join(near: socket.socket, far: socket.socket) -> None:
    upward = threading.Thread(target=_carry, args=(near, far), name="relay-up", daemon=True)
    upward.start()
    _carry(far, near)
    upward.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _tls_problem(host: str, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the TLS certificate of {host} is not trusted ({error.verify_message.rstrip('.')}):"
            " check the host name, or put the issuing CA into ca.crt of the referenced Secret"
        )
    reason = (error.reason or "").replace("_", " ").lower() or "the connection was ended"
    hint = ""
    if "certificate required" in reason or "handshake failure" in reason:
        hint = _CERTIFICATE_HINT
    return f"TLS with {host} failed: {reason}{hint}"

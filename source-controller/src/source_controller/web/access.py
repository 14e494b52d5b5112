"""Whom a host takes us for, and whom we take for the host."""

from __future__ import annotations

from dataclasses import dataclass, field

import yarl

from fluvial.net.tls import Tls

__all__ = ["Access", "same_origin", "shown"]


@dataclass(frozen=True, slots=True)
class Access:
    """What opens one host, and with ``everywhere`` others too.

    Attributes:
        home: an address of the host; scheme, name and port count.
        username: for basic authentication, with the password.
        password: likewise.
        tls: trust and client certificate.
        everywhere: the credentials may go to hosts other than home, if somebody asks for a file
            there; never along a redirect.

    """

    home: yarl.URL
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    tls: Tls = field(default_factory=Tls)
    everywhere: bool = False

    def for_file(self, url: yarl.URL) -> Access:
        """What may be shown to the host of a file that is to be fetched."""
        if self.everywhere or same_origin(self.home, url):
            return Access(url.origin(), self.username, self.password, self.tls)
        return self._stranger(url)

    def for_redirect(self, url: yarl.URL) -> Access:
        """What may be shown to the host that a redirect leads to."""
        return self if same_origin(self.home, url) else self._stranger(url)

    def _stranger(self, url: yarl.URL) -> Access:
        return Access(url.origin(), tls=self.tls.without_certificate())


def same_origin(one: yarl.URL, other: yarl.URL) -> bool:
    """Whether two addresses have the same scheme, host and port."""
    return _origin(one) == _origin(other)


def _origin(url: yarl.URL) -> tuple[str, str, int | None]:
    return url.scheme, (url.host or "").lower().rstrip("."), url.port


def shown(url: yarl.URL) -> str:
    """An address for messages: without user information, query and fragment."""
    return str(url.with_user(None).with_query(None).with_fragment(None))

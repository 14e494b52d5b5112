"""A Provider with what its Secrets say."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from yarl import URL

from notification_controller.provider.outgoing import SendFailed, checked_url

__all__ = ["Settings"]

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and as whom messages are sent.

    Attributes:
        address: of the Secret, else of the spec.
        headers: that the Secret adds to requests.
        bearer: token of a cloud identity, for want of one in the Secret.
        app: id of the GitHub App that the token is of, or ``""``.
        creds: credentials of NATS.
        nkey: seed of a key of NATS.
        hidden: what else no message may repeat.
        now: when requests are composed.

    """

    type: str
    address: str = field(default="", repr=False)
    channel: str = ""
    username: str = ""
    token: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    bearer: str = field(default="", repr=False)
    app: str = ""
    creds: str = field(default="", repr=False)
    nkey: str = field(default="", repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    now: datetime = _EPOCH

    @property
    def url(self) -> URL:
        """The address.

        Raises:
            SendFailed: it is missing, or none.

        """
        if not self.address:
            raise SendFailed(
                f"a Provider of type {self.type} needs an address, in spec or Secret", again=False
            )
        return checked_url(self.address)

    def need(self, name: str) -> str:
        """A value that the type cannot do without.

        Args:
            name: ``token``, ``channel``, ``username`` or ``password``.

        Raises:
            SendFailed: it is missing.

        """
        value = str(getattr(self, name))
        if not value:
            where = "spec" if name == "channel" else "the Secret"
            raise SendFailed(f"a Provider of type {self.type} needs {name} in {where}", again=False)
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat."""
        found = [
            self.token,
            self.bearer,
            self.password,
            self.creds,
            self.nkey,
            self.address,
            *self.headers.values(),
            *self.hidden,
        ]
        if self.username and self.password:
            found.append(_basic(self.username, self.password).removeprefix("Basic "))
        if ":" in self.token:
            found.append(self.token.partition(":")[2])
        with contextlib.suppress(ValueError):
            url = URL(self.address)
            found += [url.password or url.user or "", url.raw_password or url.raw_user or ""]
        parts = (part.partition("=") for part in self.address.split(";"))
        found += [value for name, _, value in parts if name.strip() == "SharedAccessKey"]
        return tuple(text for text in found if text)

    def authorization(self) -> dict[str, str]:
        """The header for a bearer token, or for user and password; they win."""
        if self.username and self.password:
            return {"Authorization": _basic(self.username, self.password)}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

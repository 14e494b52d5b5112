"""Everything that decides whom a registry takes us for, and whom we take for the registry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields

from fluvial.net.proxy import ProxyServer
from source_controller.oci.dockerconfig import ANONYMOUS, Credentials

__all__ = ["DIRECT", "Access"]


@dataclass(frozen=True, slots=True)
class Access:
    """The inputs of trust of a connection to a registry.

    Attributes:
        credentials: of the repository.
        ca: PEM of authorities that are trusted beside the system's.
        certificate: PEM of the client certificate and its chain.
        key: PEM of its key.
        proxy: through which every request goes.
        insecure: plain HTTP may be spoken; without ``ca`` and ``certificate`` TLS is not verified
            either, as in Flux.
        identity: whose cloud identity the credentials came from; ``""`` for none.

    """

    credentials: Credentials = ANONYMOUS
    ca: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    proxy: ProxyServer | None = None
    insecure: bool = False
    identity: str = ""

    @property
    def is_own(self) -> bool:
        """Whether a namespace decided whom we talk to: then nothing may reach another one."""
        return bool(self.ca or self.certificate or self.proxy or self.insecure)

    @property
    def verifies(self) -> bool:
        """Whether the certificate of the registry is verified."""
        return not self.insecure or bool(self.ca or self.certificate)

    def fingerprint(self) -> str:
        """Hex that is equal only if every attribute is; tells nothing about them."""
        hasher = hashlib.sha256()
        for value in _values(self):
            data = value.encode()
            hasher.update(len(data).to_bytes(8, "big") + data)
        return hasher.hexdigest()


def _values(access: Access) -> list[str]:
    found: list[str] = []
    for part in (access.credentials, access.proxy, access):
        if part is None:
            found.append("none")
            continue
        for attribute in fields(part):
            value = getattr(part, attribute.name)
            if isinstance(value, (str, int)):  # the others are the first two parts
                found.append(f"{attribute.name}={value}")
    return found


DIRECT = Access()

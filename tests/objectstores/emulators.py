"""Google's and Azure's storage as emulators: Azurite (Microsoft's own) and gcp-storage-emulator."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote, urlencode

from yarl import URL

from objectstores.programs import azurite_path, need_storage, serving
from source_controller.bucket.stores.sharedkey import with_shared_key

__all__ = ["Azurite", "GoogleEmulator", "azurite", "google_emulator"]

_ACCOUNT = "tenantstore"
_KEY = base64.b64encode(b"a key of a server that lives for a test").decode()
_SCRIPT = """
import threading
from gcp_storage_emulator.server import create_server
server = create_server("127.0.0.1", 0, in_memory=True)
server.start()
print("listening on", server._api._httpd.server_port)
threading.Event().wait()
"""


@dataclass(frozen=True)
class GoogleEmulator:
    """A running emulator; it checks no token.

    Attributes:
        port: on 127.0.0.1.

    """

    port: int

    @property
    def endpoint(self) -> str:
        """For ``spec.endpoint``."""
        return f"127.0.0.1:{self.port}"

    def make_bucket(self, name: str) -> None:
        """An empty bucket."""
        body = f'{{"name": "{name}"}}'.encode()
        _ask("POST", f"http://{self.endpoint}/storage/v1/b?project=x", body, _JSON)

    def put(self, bucket: str, key: str, content: str) -> None:
        """Write an object."""
        query = urlencode({"uploadType": "media", "name": key})
        path = f"/upload/storage/v1/b/{bucket}/o?{query}"
        headers = {"Content-Type": "text/plain"}
        _ask("POST", f"http://{self.endpoint}{path}", content.encode(), headers)


_JSON = {"Content-Type": "application/json"}


@contextmanager
def google_emulator() -> Iterator[GoogleEmulator]:
    """An emulator with no buckets."""
    argv = [str(need_storage()), "-c", _SCRIPT]
    with serving(argv, ready=r"listening on (\d+)", env={}) as port:
        yield GoogleEmulator(port)


@dataclass(frozen=True)
class Azurite:
    """A running Azurite, which checks keys and signatures.

    Attributes:
        port: on 127.0.0.1.

    """

    port: int
    key: str = _KEY

    @property
    def endpoint(self) -> str:
        """For ``spec.endpoint``."""
        return f"http://127.0.0.1:{self.port}/{_ACCOUNT}"

    def make_container(self, name: str) -> None:
        """An empty container."""
        self._put(f"/{name}?restype=container", b"", {})

    def put(self, container: str, key: str, content: str) -> None:
        """Write a blob."""
        path = f"/{container}/{quote(key, safe='/~')}"
        self._put(path, content.encode(), {"x-ms-blob-type": "BlockBlob"})

    def sas(self, container: str, *, permissions: str = "rl") -> str:
        """A signature for one container, made after Microsoft's description of version 2018-11-09."""
        until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        resource = f"/blob/{_ACCOUNT}/{container}"
        lines = [permissions, "", until, resource, "", "", "", "2018-11-09", "c", *[""] * 6]
        digest = hmac.new(base64.b64decode(_KEY), "\n".join(lines).encode(), hashlib.sha256)
        fields = {"sp": permissions, "se": until, "sv": "2018-11-09", "sr": "c"}
        return urlencode({**fields, "sig": base64.b64encode(digest.digest()).decode()})

    def _put(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        url = URL(f"{self.endpoint}{path}", encoded=True)
        sent = {
            "x-ms-date": format_datetime(datetime.now(UTC), usegmt=True),
            "x-ms-version": "2020-10-02",
            "Content-Type": "application/octet-stream",
            **headers,
        }
        if body:
            sent["Content-Length"] = str(len(body))
        signed = with_shared_key("PUT", url, sent, account=_ACCOUNT, key=base64.b64decode(_KEY))
        _ask("PUT", str(url), body, signed)


@contextmanager
def azurite() -> Iterator[Azurite]:
    """An Azurite with one account and no containers."""
    argv = [azurite_path(), "--inMemoryPersistence", "--silent", "--disableTelemetry"]
    argv += ["--blobHost", "127.0.0.1", "--blobPort", "0"]
    env = {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}"}
    with serving(argv, ready=r"listens on http://127\.0\.0\.1:(\d+)", env=env) as port:
        yield Azurite(port)


def _ask(method: str, url: str, body: bytes, headers: dict[str, str]) -> None:
    request = urllib.request.Request(url, data=body, method=method, headers=headers)  # noqa: S310  # ours
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310  # ours
        response.read()

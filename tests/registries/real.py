"""The CNCF's own registry (distribution) as a process, and how images get into it."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from registries.images import Image

__all__ = ["PASSWORD", "USER", "RealRegistry", "registry_path"]

USER, PASSWORD = "puller", "secret"  # of a server that lives for a test
_HTPASSWD = f"{USER}:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:[0-9]+)")
_START_SECONDS = 20.0


def registry_path() -> str:
    """Path of the program, ``""`` where it is not installed."""
    return shutil.which("docker-registry", path=f"{os.defpath}:/usr/local/bin") or ""


class RealRegistry:
    """A registry with its data in a folder.

    Args:
        folder: new.
        htpasswd: whether ``USER`` and ``PASSWORD`` are required.
        certificate: PEM files of its certificate and key, if it speaks TLS.
        token: its ``auth.token`` section, if tokens are required.

    """

    def __init__(
        self,
        folder: Path,
        *,
        htpasswd: bool = False,
        certificate: tuple[Path, Path] | None = None,
        token: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.host = ""
        self._htpasswd = htpasswd
        self._certificate = certificate
        self._token = token
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Scheme and host."""
        return f"{'https' if self._certificate else 'http'}://{self.host}"

    @property
    def oci(self) -> str:
        """What ``spec.url`` begins with."""
        return f"oci://{self.host}"

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True)
        (self.folder / "htpasswd").write_text(_HTPASSWD)
        (self.folder / "config.yml").write_bytes(orjson.dumps(self._config()))  # JSON is YAML
        with (self.folder / "log").open("w") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(registry_path(), "serve", str(self.folder / "config.yml")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "OTEL_TRACES_EXPORTER": "none"},
            )
        async with asyncio.timeout(_START_SECONDS):
            while not (found := _LISTENING.search((self.folder / "log").read_text())):
                if self._process.returncode is not None:
                    raise RuntimeError((self.folder / "log").read_text())
                await asyncio.sleep(0.02)
        self.host = found[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def put(
        self, repository: str, tag: str, image: Image, *, authorization: str = ""
    ) -> Image:
        """Push an image under a tag, ``""`` for its digest alone."""
        async with aiohttp.ClientSession(headers=self._headers(authorization)) as http:
            await self._push(http, repository, tag, image)
        return image

    async def _push(
        self, http: aiohttp.ClientSession, repository: str, tag: str, image: Image
    ) -> None:
        for child in image.children:
            await self._push(http, repository, "", child)
        base = f"{self.url}/v2/{repository}"
        for digest, data in image.blobs.items():
            async with http.post(f"{base}/blobs/uploads/", ssl=False) as started:
                assert started.status == 202, await started.text()
                place = URL(started.headers["Location"])
            target = place.update_query(digest=digest)
            async with http.put(target, data=data, ssl=False) as stored:
                assert stored.status == 201, await stored.text()
        async with http.put(
            f"{base}/manifests/{tag or image.digest}",
            data=image.body,
            headers={"Content-Type": image.media_type},
            ssl=False,
        ) as tagged:
            assert tagged.status == 201, await tagged.text()

    def _headers(self, authorization: str) -> dict[str, str]:
        if self._htpasswd:
            pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {"Authorization": authorization} if authorization else {}

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {"addr": "127.0.0.1:0"},
        }
        if self._certificate:
            certificate, key = map(str, self._certificate)
            config["http"]["tls"] = {"certificate": certificate, "key": key}
        if self._htpasswd:
            config["auth"] = {"htpasswd": {"realm": "r", "path": str(self.folder / "htpasswd")}}
        if self._token:
            config["auth"] = {"token": self._token}
        return config

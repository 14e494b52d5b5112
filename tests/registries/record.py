"""Record what real signers put into a registry, for the tests of verification.

    PYTHONPATH=tests COSIGN=/path/to/cosign python -m registries.record

cosign is built from its published Go module (``go install
github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3``). It signs an image on a real registry, with keys
made for the purpose, once in the format of cosign 3 (a bundle that refers to the image) and once in
that of cosign 2 (a ``.sig`` tag). What it pushed, and the public keys, go into ``recorded/``; the
private keys are thrown away.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from registries.images import INDEX, MANIFEST, Image, image_of
from registries.real import RealRegistry

__all__ = ["RECORDED", "SIGNED", "dump", "execute", "load"]

RECORDED = Path(__file__).parent / "recorded"
SIGNED = image_of({"signed.yaml": "kind: ConfigMap\n"})
"""The image that was signed."""

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_KEYS: dict[str, Callable[[], _PrivateKey]] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
_BINARY = "base64:"
_FORMATS = {"bundle": "true", "legacy": "false"}


async def _main(cosign: str) -> None:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        async with RealRegistry(folder / "registry") as registry:
            for kind in _KEYS:
                _make_key(cosign, folder, kind)
                public = (folder / f"{kind}.pub").read_text()
                for form, new in _FORMATS.items():
                    name = f"{kind}-{form}"
                    await registry.put(name, "v1", SIGNED)
                    target = f"{registry.host}/{name}@{SIGNED.digest}"
                    execute(
                        *(cosign, "sign", "--yes", "--key", str(folder / f"{kind}.key")),
                        *("--use-signing-config=false", "--tlog-upload=false"),
                        *(f"--new-bundle-format={new}", "--allow-http-registry", target),
                    )
                    found[name] = {"key": public, "images": await dump(registry, name)}
            target = f"{registry.host}/attested@{SIGNED.digest}"
            await registry.put("attested", "v1", SIGNED)
            (folder / "predicate.json").write_text("{}")
            execute(
                *(cosign, "attest", "--yes", "--key", str(folder / "ecdsa-p256.key")),
                *("--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=true"),
                *("--predicate", str(folder / "predicate.json"), "--allow-http-registry", target),
            )
            public = (folder / "ecdsa-p256.pub").read_text()
            found["attested"] = {"key": public, "images": await dump(registry, "attested")}
    RECORDED.mkdir(exist_ok=True)
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    (RECORDED / "cosign.json").write_bytes(text + b"\n")


def _make_key(cosign: str, folder: Path, kind: str) -> None:
    pem = folder / f"{kind}.pem"
    pem.write_bytes(
        _KEYS[kind]().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    execute(
        *(cosign, "import-key-pair", "--yes", "--key", str(pem)),
        *("--output-key-prefix", str(folder / kind)),
    )


async def dump(registry: RealRegistry, name: str) -> list[dict[str, Any]]:
    """Everything but the signed image, which is made again by code."""
    images: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as http:
        base = f"{registry.url}/v2/{name}"
        async with http.get(f"{base}/tags/list") as listed:
            tags = (await listed.json())["tags"]
        pending = [(tag, tag) for tag in tags if tag != "v1"]
        while pending:
            tag, reference = pending.pop(0)
            accept = {"Accept": f"{MANIFEST}, {INDEX}"}
            async with http.get(f"{base}/manifests/{reference}", headers=accept) as answer:
                body, media_type = await answer.text(), answer.headers["Content-Type"]
            document = orjson.loads(body)
            blobs: dict[str, str] = {}
            for item in [*document.get("layers", []), *filter(None, [document.get("config")])]:
                async with http.get(f"{base}/blobs/{item['digest']}") as blob:
                    raw = await blob.read()
                    blobs[item["digest"]] = _as_text(raw)
            pending += [("", item["digest"]) for item in document.get("manifests", [])]
            images.append({"tag": tag, "mediaType": media_type, "body": body, "blobs": blobs})
    return images


def _as_text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return _BINARY + base64.b64encode(raw).decode()


def _from_text(text: str) -> bytes:
    if text.startswith(_BINARY):
        return base64.b64decode(text.removeprefix(_BINARY))
    return text.encode()


def load(name: str, file: str = "cosign.json") -> tuple[str, list[tuple[str, Image]]]:
    """The public key of a recording, and the images that were pushed, with their tags."""
    recorded = orjson.loads((RECORDED / file).read_bytes())[name]
    images = [
        (
            item["tag"],
            Image(
                item["body"].encode(),
                item["mediaType"],
                {digest: _from_text(text) for digest, text in item["blobs"].items()},
            ),
        )
        for item in recorded["images"]
    ]
    return recorded["key"], images


def execute(*command: str) -> None:
    """Run a signer; what it says ends the recording if it fails."""
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, "HOME": tempfile.gettempdir(), "COSIGN_PASSWORD": ""},
    )
    if done.returncode:
        raise SystemExit(f"{command[1]}: {done.stderr}")


if __name__ == "__main__":
    asyncio.run(_main(os.environ["COSIGN"]))

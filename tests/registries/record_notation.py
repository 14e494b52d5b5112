"""Record what the Notary Project's own library signs.

    (cd tests/registries/notation && go build -o /tmp/notation-sign .)
    PYTHONPATH=tests SIGNER=/tmp/notation-sign python -m registries.record_notation

The program in ``notation/`` signs by the published Go module ``notation-go``. Certificates are made
for the purpose; private keys are thrown away.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from registries.codesigners import Signer, make_key, make_signer
from registries.real import RealRegistry
from registries.record import RECORDED, SIGNED, dump, execute

__all__: list[str] = []

_KINDS = ("rsa-2048", "rsa-3072", "rsa-4096", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521")
_FORMS = {"": "application/jose+json", "cose-": "application/cose"}
_CASES: dict[str, tuple[str, str, str]] = {
    f"{prefix}{name}": (name if name in _KINDS else "ecdsa-p256", form, expiry)
    for prefix, form in _FORMS.items()
    for name, expiry in (
        *((kind, "0s") for kind in _KINDS),
        ("self-signed", "0s"),
        ("expiring", "24h"),
    )
}


async def _main(program: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)  # the signer looks at the real clock
    found: dict[str, Any] = {"made": now.isoformat()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        async with RealRegistry(folder / "registry") as registry:
            for name, (kind, media_type, expiry) in _CASES.items():
                signer = make_signer(make_key(kind), now, self_signed=name.endswith("self-signed"))
                found[name] = await _sign(
                    registry, folder, signer, program=program, name=name, more=(media_type, expiry)
                )
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    (RECORDED / "notation.json").write_bytes(text + b"\n")


async def _sign(
    registry: RealRegistry,
    folder: Path,
    signer: Signer,
    *,
    program: str,
    name: str,
    more: tuple[str, str],
) -> dict[str, Any]:
    key, chain = folder / f"{name}.key", folder / f"{name}.crt"
    key.write_bytes(signer.key_pem)
    chain.write_bytes(signer.chain_pem)
    await registry.put(name, "v1", SIGNED)
    reference = f"{registry.host}/{name}@{SIGNED.digest}"
    await asyncio.to_thread(execute, program, reference, str(key), str(chain), *more)
    return {"key": signer.root_pem.decode(), "images": await dump(registry, name)}


if __name__ == "__main__":
    asyncio.run(_main(os.environ["SIGNER"]))

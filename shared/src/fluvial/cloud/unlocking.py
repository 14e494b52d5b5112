"""Opens encrypted keys in a process of their own, which may compute for so long and no longer.

How many rounds a password is turned into a key with is up to the file, and an encrypted file may
hold another one whose number cannot be seen from outside. So nothing is counted beforehand: the
process opens it, and the kernel ends the process when its time of computing is used up.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import resource
import signal
import sys
from collections import OrderedDict
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fluvial.cloud.certificates import WHAT, Certificate, derives_keys, open_certificate
from fluvial.cloud.errors import InvalidIdentity, LoginUnreachable

__all__ = ["Unlocking", "answer"]

_MEMORY = 256 << 20
_WALL_SECONDS = 60.0
_AT_ONCE = 2
_REMEMBERED = 256
_NICE = 10


class Unlocking:
    """Opens certificates with their keys.

    Args:
        seconds: of computing that one may take; a million rounds take about half a second.

    """

    def __init__(self, *, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._refused: OrderedDict[bytes, None] = OrderedDict()

    async def open(self, data: bytes, password: str) -> Certificate:
        """Open one; what took too long once is not tried again.

        Args:
            data: PEM or PKCS #12.
            password: of it, or ``""``.

        Raises:
            InvalidIdentity: it cannot be used, or takes too long to open.
            LoginUnreachable: there is no process for it; try again.

        """
        if not derives_keys(data, password):
            return await asyncio.to_thread(open_certificate, data, password)
        secret = password.encode()
        digest = hashlib.sha256(len(secret).to_bytes(8, "big") + secret + data).digest()
        if digest in self._refused:
            raise self._endless()
        question = {
            "data": base64.b64encode(data).decode(),
            "password": password,
            "seconds": self._seconds,
        }
        async with self._at_once:
            code, said = await _run(orjson.dumps(question))
        if code == -signal.SIGPROF:
            self._refused[digest] = None
            if len(self._refused) > _REMEMBERED:
                self._refused.popitem(last=False)
            raise self._endless()
        if code != 0:
            raise InvalidIdentity(f"{WHAT} cannot be opened")
        document = orjson.loads(said)
        if "problem" in document:
            raise InvalidIdentity(str(document["problem"]))
        chain = (base64.b64decode(item) for item in document["chain"])
        return Certificate(document["key"], tuple(map(x509.load_der_x509_certificate, chain)))

    def _endless(self) -> InvalidIdentity:
        return InvalidIdentity(
            f"{WHAT} is not opened within {self._seconds:g}s of computing: encrypt it with fewer"
            " rounds of its key derivation"
        )


async def _run(question: bytes) -> tuple[int, bytes]:
    """Exit code and output of the process.

    Raises:
        LoginUnreachable: it cannot be started, or the machine gives it no time.

    """
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", f"from {__name__} import answer; answer()"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise LoginUnreachable(f"{WHAT} cannot be opened now: {error.strerror}") from error
    try:
        async with asyncio.timeout(_WALL_SECONDS):
            said, _ = await process.communicate(question)
    except TimeoutError as error:
        raise LoginUnreachable(f"{WHAT} cannot be opened now: the machine is too busy") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return process.returncode or 0, said


def answer() -> None:
    """What the process does: a question on its input, an answer on its output."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    os.nice(_NICE)
    question: Any = orjson.loads(sys.stdin.buffer.read())
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
    signal.setitimer(signal.ITIMER_PROF, question["seconds"])
    try:
        found = open_certificate(base64.b64decode(question["data"]), question["password"])
    except InvalidIdentity as error:
        said: dict[str, object] = {"problem": str(error)}
    else:
        chain = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in found.chain]
        said = {"key": found.key, "chain": chain}
    sys.stdout.buffer.write(orjson.dumps(said))

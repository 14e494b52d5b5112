"""A post-receive hook that tells of a push as GitHub's webhooks do.

https://docs.github.com/webhooks/webhook-events-and-payloads#push, signed as
https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries says. It runs as a
program of its own: ``hook.py <URL> <file with the secret>``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path
from typing import Any

__all__ = ["headers_of", "install", "push_payload"]

_NOBODY = "0" * 40


def headers_of(secret: bytes, body: bytes, *, event: str = "push") -> dict[str, str]:
    """The headers of a delivery."""
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    older = hmac.new(secret, body, hashlib.sha1).hexdigest()
    return {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "292430182",
        "X-GitHub-Hook-Installation-Target-ID": "79929171",
        "X-GitHub-Hook-Installation-Target-Type": "repository",
        "X-Hub-Signature": f"sha1={older}",
        "X-Hub-Signature-256": f"sha256={signature}",
    }


def push_payload(ref: str, before: str, after: str, *, message: str) -> dict[str, Any]:
    """What GitHub says of a push of one commit."""
    person = {"name": "Dev", "email": "dev@example.com", "username": "dev"}
    commit = {
        "id": after,
        "distinct": True,
        "message": message,
        "timestamp": "2026-11-23T10:00:00Z",
        "url": f"https://github.com/org/app/commit/{after}",
        "author": person,
        "committer": person,
        "added": [],
        "removed": [],
        "modified": [],
    }
    user = {"login": "dev", "id": 21031067, "type": "User", "site_admin": False}
    return {
        "ref": ref,
        "before": before,
        "after": after,
        "base_ref": None,
        "created": before == _NOBODY,
        "deleted": after == _NOBODY,
        "forced": False,
        "compare": f"https://github.com/org/app/compare/{before[:12]}...{after[:12]}",
        "commits": [commit],
        "head_commit": commit,
        "pusher": {"name": "dev", "email": "dev@example.com"},
        "sender": user,
        "repository": {
            "id": 186853002,
            "name": "app",
            "full_name": "org/app",
            "private": True,
            "owner": user,
            "html_url": "https://github.com/org/app",
            "clone_url": "https://github.com/org/app.git",
            "default_branch": "main",
        },
    }


def install(bare: Path, url: str, secret: str) -> None:
    """Put the hook into a bare repository."""
    file = bare / "webhook-secret"
    file.write_text(secret)
    hook = bare / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} -I {__file__} {url} {file}\n")
    hook.chmod(0o755)


def _main(url: str, file: str) -> None:
    before, after, ref = sys.stdin.readline().split()
    said = subprocess.run(
        ["git", "log", "-1", "--format=%s", after], capture_output=True, check=True, text=True
    )
    body = json.dumps(push_payload(ref, before, after, message=said.stdout.strip())).encode()
    headers = headers_of(Path(file).read_bytes(), body)
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310  # a test's
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        if answer.status != 200:
            sys.exit(f"the webhook is answered {answer.status}")


if __name__ == "__main__":
    _main(*sys.argv[1:])

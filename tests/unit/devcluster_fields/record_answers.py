"""Record anew what the real API server answers to the requests in ``recorded/*.json``.

    python tests/unit/devcluster_fields/record_answers.py --kubeconfig FILE

The file names a control plane that may be written to (``python -m controlplane`` starts one). The
requests stay; their answers are replaced, without what differs from run to run.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

__all__ = ["main"]

RECORDED = Path(__file__).parent / "recorded"
ADDRESSES = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
ANY_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation")


class Server:
    """One request at a time, without any of the project's own code."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        user = config["users"][0]["user"]
        self._url = cluster["server"]
        self._headers = {"Content-Type": "application/json"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        ca = cluster.get("certificate-authority-data")
        self._tls = ssl.create_default_context(cadata=base64.b64decode(ca).decode() if ca else None)
        if not ca:
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(base64.b64decode(user["client-certificate-data"]))
                pair.write(base64.b64decode(user["client-key-data"]))
                pair.flush()
                self._tls.load_cert_chain(pair.name)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  the URL comes from the kubeconfig
            f"{self._url}{path}", data=data, method=method, headers=self._headers
        )
        if method == "PATCH":
            request.add_header("Content-Type", "application/merge-patch+json")
        try:
            with urllib.request.urlopen(request, context=self._tls) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)


def answer_of(status: int, body: dict[str, Any]) -> dict[str, Any]:
    """What is worth keeping of an answer, and is the same in every run."""
    body = json.loads(ANY_UID.sub("UID", json.dumps(body)))
    if status >= 400:
        causes = (body.get("details") or {}).get("causes") or []
        causes.sort(key=lambda cause: json.dumps(cause, sort_keys=True))
        keep = {"status": status, "causes": causes}
        return keep if causes else {**keep, "message": body.get("message", "")}
    for key in VOLATILE:
        body["metadata"].pop(key, None)
    managed = body["metadata"].pop("managedFields", [])
    body.get("status", {}).pop("lastPhaseTransitionTime", None)
    if body["kind"] == "Service":
        for key in ADDRESSES:
            body["spec"].pop(key, None)
        for port in body["spec"].get("ports", ()):
            port.pop("nodePort", None)
    return {"status": status, "object": body, "fields": [entry["fieldsV1"] for entry in managed]}


def ask_for(server: Server, case: dict[str, Any]) -> dict[str, Any]:
    """The answer to a create, or to a merge patch of what the create made."""
    how = "?dryRun=All&fieldManager=m&fieldValidation=Warn"
    if "patch" not in case:
        return answer_of(*server.ask("POST", f"{case['path']}{how}", case["request"]))
    one = f"{case['path']}/{case['request']['metadata']['name']}"
    now = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
    server.ask("POST", case["path"], case["request"])
    status, body = server.ask("PATCH", f"{one}{how}", case["patch"])
    server.ask("DELETE", one, now)
    answer = answer_of(status, body)
    return {key: answer[key] for key in ("status", "causes", "message") if key in answer}


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the recordings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    server = Server(parser.parse_args(arguments).kubeconfig)
    for path in sorted(RECORDED.glob("*.json")):
        cases = json.loads(path.read_text())
        for case in cases:
            case["answer"] = ask_for(server, case)
        lines = ",\n".join(json.dumps(case, sort_keys=True) for case in cases)
        path.write_text(f"[\n{lines}\n]\n")
        sys.stdout.write(f"{path.name}: {len(cases)} answers\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

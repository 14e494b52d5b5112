"""The command lines of the three programs, and the files that they read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.build import Binaries
from controlplane.certs import Authority, KeyPair, new_key_pem, public_key_pem

__all__ = [
    "ADMIN",
    "Files",
    "Ports",
    "apiserver_command",
    "etcd_command",
    "manager_command",
    "write_files",
]

ADMIN = "kubernetes-admin"
"""The admin's user name, as kubeadm has it."""
# 8,190 addresses: a benchmark has 5,000 Services.
_SERVICE_RANGE = "10.0.0.0/19"
_ISSUER = "https://kubernetes.default.svc.cluster.local"
# What needs nodes, disks or clouds is off; everything else runs as in production.
_CONTROLLERS_OFF = (
    "device-taint-eviction-controller",
    "node-ipam-controller",
    "node-lifecycle-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "taint-eviction-controller",
    "ttl-controller",
)
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True, slots=True)
class Ports:
    """Free TCP ports on loopback; of etcd one for each member."""

    etcd: tuple[int, ...]
    etcd_peers: tuple[int, ...]
    apiserver: int

    @property
    def etcd_urls(self) -> list[str]:
        """Where the members serve clients."""
        return [f"http://127.0.0.1:{port}" for port in self.etcd]


@dataclass(frozen=True, slots=True)
class Files:
    """What ``write_files`` made in ``folder``."""

    folder: Path
    ca_pem: bytes
    admin: KeyPair
    admin_token: str
    audit_log: Path

    def path(self, name: str) -> str:
        """The file ``name`` in the folder."""
        return str(self.folder / name)

    def etcd_folder(self, member: int) -> Path:
        """All that a member of etcd remembers."""
        return self.folder / f"etcd-{member}"


def write_files(folder: Path, *, port: int, audit_log: Path) -> Files:
    """Make certificates, keys, tokens, the audit policy and the manager's kubeconfig."""
    authority, front = Authority("control-plane"), Authority("front-proxy")
    server = authority.server(
        hosts=("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "10.0.0.1")
    )
    admin = authority.client(user=ADMIN, groups=("system:masters",))
    manager = authority.client(user="system:kube-controller-manager")
    proxy = front.client(user="front-proxy-client")
    signing = new_key_pem()
    token = secrets.token_urlsafe(24)
    _write(folder, "ca.pem", authority.ca_pem)
    _write(folder, "front-ca.pem", front.ca_pem)
    for name, pair in (("server", server), ("manager", manager), ("proxy", proxy)):
        _write(folder, f"{name}.pem", pair.certificate)
        _write(folder, f"{name}.key", pair.key)
    _write(folder, "accounts.key", signing)
    _write(folder, "accounts.pub", public_key_pem(signing))
    _write(folder, "tokens.csv", f'{token},{ADMIN},{ADMIN},"system:masters"\n'.encode())
    _write(folder, "audit.json", json.dumps(_AUDIT_POLICY).encode())
    _write(folder, "manager.kubeconfig", json.dumps(_manager_kubeconfig(folder, port)).encode())
    return Files(
        folder=folder,
        ca_pem=authority.ca_pem,
        admin=admin,
        admin_token=token,
        audit_log=audit_log,
    )


def etcd_command(binaries: Binaries, files: Files, ports: Ports, *, member: int = 0) -> list[str]:
    """One member, which never waits for the disk."""
    client = ports.etcd_urls[member]
    peers = [f"http://127.0.0.1:{port}" for port in ports.etcd_peers]
    return [
        str(binaries.path("etcd")),
        f"--name=m{member}",
        f"--data-dir={files.etcd_folder(member)}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peers[member]}",
        f"--initial-advertise-peer-urls={peers[member]}",
        "--initial-cluster=" + ",".join(f"m{n}={peer}" for n, peer in enumerate(peers)),
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver_command(binaries: Binaries, files: Files, ports: Ports) -> list[str]:
    """Admission, fairness and aggregation as in production; RBAC; loopback only."""
    return [
        str(binaries.path("kube-apiserver")),
        f"--etcd-servers={','.join(ports.etcd_urls)}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.apiserver}",
        f"--service-cluster-ip-range={_SERVICE_RANGE}",
        "--endpoint-reconciler-type=none",  # a loopback address is no valid endpoint
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={files.path('ca.pem')}",
        f"--tls-cert-file={files.path('server.pem')}",
        f"--tls-private-key-file={files.path('server.key')}",
        f"--token-auth-file={files.path('tokens.csv')}",
        f"--service-account-issuer={_ISSUER}",
        f"--service-account-key-file={files.path('accounts.pub')}",
        f"--service-account-signing-key-file={files.path('accounts.key')}",
        f"--requestheader-client-ca-file={files.path('front-ca.pem')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={files.path('proxy.pem')}",
        f"--proxy-client-key-file={files.path('proxy.key')}",
        f"--audit-policy-file={files.path('audit.json')}",
        f"--audit-log-path={files.audit_log}",
        "--audit-log-mode=blocking",
        "--audit-log-maxsize=0",
        "--profiling=false",
    ]


def manager_command(binaries: Binaries, files: Files) -> list[str]:
    """All controllers that make sense without nodes; it serves nothing itself."""
    config = files.path("manager.kubeconfig")
    return [
        str(binaries.path("kube-controller-manager")),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={files.path('ca.pem')}",
        f"--service-account-private-key-file={files.path('accounts.key')}",
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--controllers=*," + ",".join(f"-{name}" for name in _CONTROLLERS_OFF),
    ]


def _manager_kubeconfig(folder: Path, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": f"https://127.0.0.1:{port}",
                    "certificate-authority": str(folder / "ca.pem"),
                },
            }
        ],
        "users": [
            {
                "name": "u",
                "user": {
                    "client-certificate": str(folder / "manager.pem"),
                    "client-key": str(folder / "manager.key"),
                },
            }
        ],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def _write(folder: Path, name: str, data: bytes) -> None:
    handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)

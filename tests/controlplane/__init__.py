"""The real control plane for tests: etcd, kube-apiserver and kube-controller-manager.

``build`` finds or builds the programs, ``start`` runs them on loopback, ``workloads`` stands in
for scheduler and kubelet, ``fixtures`` offers it all to pytest. ``python -m controlplane`` runs one
in the foreground.
"""

from __future__ import annotations

__all__: list[str] = []

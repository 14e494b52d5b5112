"""An embedded Kubernetes API server for demos and tests.

async with DevCluster(Options()) as cluster:
    cluster.url, cluster.ca_pem, cluster.admin_token, cluster.kubeconfig()
"""

from devcluster.cluster import DevCluster, Options

__all__ = ["DevCluster", "Options"]

"""Where credentials that are not the object's own may go: to the cloud that they are for.

What the controller, the machine or a service account can do, a tenant must not learn to do by
naming a host or plain HTTP of its own, nor, but for a service account of its own namespace, an
authority. A proxy does no harm: it sees TLS only.
"""

from __future__ import annotations

import re

from yarl import URL

from fluvial.api.source_bucket import BucketSpec
from fluvial.cloud.model import CONTROLLER, Identity, ServiceAccount
from source_controller.bucket.access import BucketAccess
from source_controller.source.secrets import auth_failed

__all__ = ["check_lent"]

_REGION = r"[a-z]{2,3}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}"
_HOSTS = {
    # Not all that ends so is Amazon's to answer for: machines and load balancers do, too.
    "aws": re.compile(
        rf"s3(?:-accelerate|-fips)?(?:\.dualstack)?(?:[.-]{_REGION})?\.amazonaws\.com(?:\.cn)?"
        rf"|(?:bucket\.)?vpce-[a-z0-9-]{{1,80}}\.s3\.{_REGION}\.vpce\.amazonaws\.com"
    ),
    "azure": re.compile(
        r"[a-z0-9]{3,24}(?:-secondary)?(?:\.z[0-9]{1,2})?(?:\.privatelink)?\.(?:blob|dfs)\."
        r"(?:core\.(?:windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)|storage\.azure\.net)"
    ),
    "gcp": re.compile(r"(?:[a-z0-9-]{1,63}\.){1,4}googleapis\.com"),
}


def check_lent(
    spec: BucketSpec, access: BucketAccess, endpoint: URL, identity: Identity = CONTROLLER
) -> None:
    """See to it that an identity's credentials can reach nobody but its cloud.

    Args:
        spec: of the object.
        access: what it names.
        endpoint: of the storage.
        identity: whose they are; those of the machine are the controller's, too.

    Raises:
        StepFailed: ``AuthenticationFailed``: they could.

    """
    who = f"the identity that provider {spec.provider!r} gives"
    if endpoint.scheme != "https" or not _HOSTS[spec.provider].fullmatch(endpoint.host or ""):
        raise auth_failed(
            f"{who} is for https and for hosts of that cloud only: correct spec.endpoint,"
            " or give credentials by spec.secretRef"
        )
    if access.tls.ca and not isinstance(identity, ServiceAccount):
        raise auth_failed(
            "'ca.crt' of spec.certSecretRef and the controller's own cloud identity exclude each"
            " other: use spec.serviceAccountName, or add the CA to the controller's trust"
        )

"""Bucket of ``source.toolkit.fluxcd.io/v1``: the objects of a bucket of object storage."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from fluvial.api.meta import (
    SHORTEST_INTERVAL,
    Artifact,
    CelRule,
    Condition,
    Duration,
    LocalObjectReference,
    Model,
    MutableModel,
    ObjectMeta,
    doc,
    schema_only,
    seconds,
    server_default,
)

__all__ = ["Bucket", "BucketProvider", "BucketSTS", "BucketSpec", "BucketStatus", "StsProvider"]

BucketProvider = Literal["generic", "aws", "gcp", "azure"]
StsProvider = Literal["aws", "ldap"]
_TIMEOUT_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$"
_DEFAULT_TIMEOUT = "60s"


class BucketSTS(Model, kw_only=True, frozen=True):
    """The token service that gives temporary credentials for a bucket that speaks S3."""

    cert_secret_ref: Annotated[
        LocalObjectReference | None,
        doc(
            "Secret with tls.crt and tls.key of a client certificate, and/or ca.crt, for the"
            " endpoint; for the provider ldap only."
        ),
    ] = None
    endpoint: Annotated[
        str,
        Meta(pattern=r"^(http|https)://.*$"),
        doc("Address of the token service: http or https."),
    ]
    provider: Annotated[StsProvider, doc("What the token service wants to be shown.")]
    secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with username and password for the endpoint; for the provider ldap only."),
    ] = None


class BucketSpec(Model, kw_only=True, frozen=True):
    """Where a bucket is, and how and how often its objects are fetched."""

    __cel__ = (
        CelRule(
            "!has(self.sts) || self.provider in ['aws', 'generic']",
            "sts can only be set for the providers 'aws' and 'generic'",
        ),
        CelRule(
            "!has(self.sts) || self.provider != 'aws' || self.sts.provider == 'aws'",
            "sts.provider must be 'aws' where provider is 'aws'",
        ),
        CelRule(
            "!has(self.sts) || self.provider != 'generic' || self.sts.provider == 'ldap'",
            "sts.provider must be 'ldap' where provider is 'generic'",
        ),
        CelRule(
            "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.secretRef)",
            "sts.secretRef can only be set where sts.provider is 'ldap'",
        ),
        CelRule(
            "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.certSecretRef)",
            "sts.certSecretRef can only be set where sts.provider is 'ldap'",
        ),
        CelRule(
            "self.provider != 'generic' || !has(self.serviceAccountName)",
            "serviceAccountName cannot be set where provider is 'generic'",
        ),
        CelRule(
            "!has(self.secretRef) || !has(self.serviceAccountName)",
            "secretRef and serviceAccountName exclude each other",
        ),
    )

    bucket_name: Annotated[str, doc("Name of the bucket; of the container for azure.")]
    cert_secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with tls.crt and tls.key of a client certificate, and/or ca.crt."),
    ] = None
    endpoint: Annotated[
        str, doc("Host, and port if need be, of the object storage; for azure an address.")
    ]
    ignore: Annotated[
        str | None, doc("Objects to leave out of the artifact, in the format of .gitignore.")
    ] = None
    insecure: Annotated[bool, doc("Speaks plain HTTP with the endpoint.")] = False
    interval: Annotated[Duration, doc("How often the bucket is checked for changes.")]
    prefix: Annotated[
        str, doc("Only objects whose names begin with this; it stays part of the names.")
    ] = ""
    provider: Annotated[
        BucketProvider,
        doc("Which interface the storage has and how to authenticate to it."),
        server_default("generic"),
    ] = "generic"
    proxy_secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with address, username and password of the proxy to use."),
    ] = None
    region: Annotated[str, doc("Region of the bucket; us-east-1 by default.")] = ""
    secret_ref: Annotated[
        LocalObjectReference | None,
        doc(
            "Secret with credentials. generic and aws: accesskey and secretkey. gcp:"
            " serviceaccount. azure: accountKey, sasKey, clientId with tenantId and clientSecret"
            " or clientCertificate, or clientId alone."
        ),
    ] = None
    service_account_name: Annotated[
        str, doc("ServiceAccount whose identity is used with the provider.")
    ] = ""
    sts: Annotated[
        BucketSTS | None, doc("Token service for temporary credentials; for generic and aws.")
    ] = None
    suspend: Annotated[bool, doc("Stops the reconciliation of this object.")] = False
    timeout: Annotated[
        str,
        Meta(pattern=_TIMEOUT_PATTERN),
        doc("How long everything that is asked of the storage may take."),
        server_default(_DEFAULT_TIMEOUT),
    ] = _DEFAULT_TIMEOUT

    @property
    def interval_seconds(self) -> float:
        """Seconds between checks."""
        return max(seconds(self.interval, 0.0), SHORTEST_INTERVAL)

    @property
    def timeout_seconds(self) -> float:
        """Seconds the storage has."""
        return seconds(self.timeout, 60.0)


class BucketStatus(MutableModel, kw_only=True):
    """What was fetched last, and how that went."""

    artifact: Annotated[Artifact | None, doc("The last archive that was stored.")] = None
    conditions: Annotated[list[Condition], doc("State of the object, aspect by aspect.")] = field(
        default_factory=list
    )
    last_handled_reconcile_at: Annotated[
        str, doc("Token of the last reconcile request that was acted on.")
    ] = ""
    observed_generation: Annotated[
        int, doc("The last generation that was reconciled."), schema_only(format="int64")
    ] = 0
    observed_ignore: Annotated[
        str | None, doc("The ignore rules that the artifact was made with.")
    ] = None
    url: Annotated[str, doc("Address that leads to the newest artifact, if it could be made.")] = ""


class Bucket(Model, kw_only=True, frozen=True):
    """A bucket of object storage, whose objects become an artifact."""

    API_VERSION: ClassVar[str] = "source.toolkit.fluxcd.io/v1"
    KIND: ClassVar[str] = "Bucket"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: BucketSpec
    status: BucketStatus = field(default_factory=BucketStatus)

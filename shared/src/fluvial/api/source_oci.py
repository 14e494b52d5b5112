"""OCIRepository of ``source.toolkit.fluxcd.io/v1``: an artifact in an OCI registry."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from fluvial.api.meta import (
    SHORTEST_INTERVAL,
    Artifact,
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

__all__ = [
    "DEFAULT_TAG",
    "OCILayerSelector",
    "OCIRepository",
    "OCIRepositoryRef",
    "OCIRepositorySpec",
    "OCIRepositoryStatus",
    "OCIRepositoryVerification",
    "OIDCIdentityMatch",
]

DEFAULT_TAG = "latest"
"""What is pulled where no reference is given at all."""

OCIProvider = Literal["generic", "aws", "azure", "gcp"]
LayerOperation = Literal["extract", "copy"]
VerifyProvider = Literal["cosign", "notation"]
_TIMEOUT_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$"
_DEFAULT_TIMEOUT = "60s"


class OCIRepositoryRef(Model, kw_only=True, frozen=True):
    """What to pull. The strongest that is set wins: digest, semver, tag."""

    digest: Annotated[str, doc("Digest to pull, such as sha256:<hex>.")] = ""
    semver: Annotated[str, doc("Range of versions; the highest tag in it is pulled.")] = ""
    semver_filter: Annotated[
        str, doc("Regular expression (RE2); only tags that match it are candidates of semver.")
    ] = ""
    tag: Annotated[str, doc("Tag to pull; latest where nothing else is set.")] = ""


class OCILayerSelector(Model, kw_only=True, frozen=True):
    """Which layer becomes the artifact, and how."""

    media_type: Annotated[
        str, doc("The first layer with this media type is taken; the first of all by default.")
    ] = ""
    operation: Annotated[
        LayerOperation,
        doc("Whether the layer is extracted and archived again, the default, or stored as it is."),
    ] = "extract"


class OIDCIdentityMatch(Model, kw_only=True, frozen=True):
    """Who may have signed without a key. Both expressions (RE2) must match."""

    issuer: Annotated[str, doc("Regular expression for the issuer of the signer's identity.")]
    subject: Annotated[str, doc("Regular expression for the signer's identity.")]


class OCIRepositoryVerification(Model, kw_only=True, frozen=True):
    """Which signatures must be there."""

    match_oidc_identity: Annotated[
        tuple[OIDCIdentityMatch, ...],
        doc("Who may have signed, where signatures are made without a key; one must match."),
    ] = field(default=(), name="matchOIDCIdentity")
    provider: Annotated[
        VerifyProvider, doc("What made the signatures."), server_default("cosign")
    ] = "cosign"
    secret_ref: Annotated[
        LocalObjectReference | None,
        doc(
            "Secret with what is trusted: *.pub public keys for cosign; trustpolicy.json and"
            " *.crt or *.pem certificates for notation."
        ),
    ] = None
    trusted_root_secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with trusted_root.json of a private sigstore, for signatures without a key."),
    ] = None


class OCIRepositorySpec(Model, kw_only=True, frozen=True):
    """Where an artifact is, and how and how often it is pulled."""

    cert_secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with tls.crt and tls.key of a client certificate, and/or ca.crt."),
    ] = None
    ignore: Annotated[
        str | None, doc("Paths to leave out of the artifact, in the format of .gitignore.")
    ] = None
    insecure: Annotated[
        bool,
        doc(
            "Allows plain HTTP, and, without certSecretRef, TLS that is not verified. What is"
            " pulled so can be trusted only if its signature is verified."
        ),
    ] = False
    interval: Annotated[Duration, doc("How often the registry is checked for changes.")]
    layer_selector: Annotated[
        OCILayerSelector | None, doc("Which layer is taken; the first one by default.")
    ] = None
    provider: Annotated[
        OCIProvider,
        doc("How to authenticate where it is not by Secrets alone."),
        server_default("generic"),
    ] = "generic"
    proxy_secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with address, username and password of the proxy to use."),
    ] = None
    ref: Annotated[OCIRepositoryRef | None, doc("What to pull; the tag latest by default.")] = None
    secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret of type kubernetes.io/dockerconfigjson with the registry's credentials."),
    ] = None
    service_account_name: Annotated[
        str, doc("ServiceAccount whose imagePullSecrets are used beside secretRef.")
    ] = ""
    suspend: Annotated[bool, doc("Stops the reconciliation of this object.")] = False
    timeout: Annotated[
        str,
        Meta(pattern=_TIMEOUT_PATTERN),
        doc("How long everything that is asked of the registry may take."),
        server_default(_DEFAULT_TIMEOUT),
    ] = _DEFAULT_TIMEOUT
    url: Annotated[
        str,
        Meta(pattern=r"^oci://.*$"),
        doc("Address of the repository, oci://<host>/<name>, without tag or digest."),
    ]
    verify: Annotated[
        OCIRepositoryVerification | None,
        doc("Signatures to check before content is trusted."),
    ] = None

    @property
    def interval_seconds(self) -> float:
        """Seconds between checks."""
        return max(seconds(self.interval, 0.0), SHORTEST_INTERVAL)

    @property
    def timeout_seconds(self) -> float:
        """Seconds the registry has."""
        return seconds(self.timeout, 60.0)


class OCIRepositoryStatus(MutableModel, kw_only=True):
    """What was pulled last, and how that went."""

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
    observed_layer_selector: Annotated[
        OCILayerSelector | None, doc("The layer selector that the artifact was made with.")
    ] = None
    url: Annotated[str, doc("Address that leads to the newest artifact, if it could be made.")] = ""


class OCIRepository(Model, kw_only=True, frozen=True):
    """An artifact in an OCI registry, of which one layer becomes an artifact here."""

    API_VERSION: ClassVar[str] = "source.toolkit.fluxcd.io/v1"
    KIND: ClassVar[str] = "OCIRepository"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: OCIRepositorySpec
    status: OCIRepositoryStatus = field(default_factory=OCIRepositoryStatus)

"""The kinds of ``source.toolkit.fluxcd.io/v1``: where desired state is fetched from."""

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

__all__ = [
    "DEFAULT_BRANCH",
    "GROUP",
    "GitProvider",
    "GitRepository",
    "GitRepositoryInclude",
    "GitRepositoryRef",
    "GitRepositorySpec",
    "GitRepositoryStatus",
    "GitRepositoryVerification",
    "HelmRepository",
    "HelmRepositorySpec",
    "HelmRepositoryStatus",
    "HelmRepositoryType",
    "NamespaceSelector",
    "RegistryProvider",
    "SourceAccess",
]

GROUP = "source.toolkit.fluxcd.io"
DEFAULT_BRANCH = "master"
"""What is fetched where no reference is given at all."""

GitProvider = Literal["generic", "aws", "azure", "github"]
VerifyMode = Literal["head", "HEAD", "Tag", "TagAndHEAD"]
HelmRepositoryType = Literal["default", "oci"]
RegistryProvider = Literal["generic", "aws", "azure", "gcp"]
_TIMEOUT_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$"
_DEFAULT_TIMEOUT = "60s"


class GitRepositoryRef(Model, kw_only=True, frozen=True):
    """What to check out. The strongest that is set wins: commit, name, semver, tag, branch."""

    branch: Annotated[str, doc("Branch to follow; master where nothing else is set.")] = ""
    commit: Annotated[
        str, doc("Commit to check out, by its full hash; with a branch it is looked up there.")
    ] = ""
    name: Annotated[
        str, doc("Full name of a reference, such as refs/pull/420/head or refs/tags/v1.0.")
    ] = ""
    semver: Annotated[str, doc("Range of versions; the highest tag in it is checked out.")] = ""
    tag: Annotated[str, doc("Tag to check out.")] = ""


class GitRepositoryInclude(Model, kw_only=True, frozen=True):
    """Content of another GitRepository's artifact, copied into this one's."""

    from_path: Annotated[
        str, doc("Folder to copy from the other artifact; its root by default.")
    ] = ""
    repository: Annotated[
        LocalObjectReference, doc("The GitRepository whose artifact is included.")
    ]
    to_path: Annotated[
        str, doc("Folder to copy to; the name of the included repository by default.")
    ] = ""

    @property
    def target_path(self) -> str:
        """Where the content goes, with the default applied."""
        return self.to_path or self.repository.name


class GitRepositoryVerification(Model, kw_only=True, frozen=True):
    """Which signatures must be there, and the keys that may have made them."""

    mode: Annotated[
        VerifyMode,
        doc("Which object's signature is checked: the commit's, the tag's, or both."),
        server_default("HEAD"),
    ] = "HEAD"
    secret_ref: Annotated[
        LocalObjectReference,
        doc("Secret with the public keys; keys ending in .sshpub are for SSH, others for PGP."),
    ]


class GitRepositorySpec(Model, kw_only=True, frozen=True):
    """Where a repository is, and how and how often it is fetched."""

    __cel__ = (
        CelRule(
            "!has(self.serviceAccountName) ||"
            " (has(self.provider) && self.provider in ['aws', 'azure'])",
            "serviceAccountName can only be set when provider is 'azure' or 'aws'",
        ),
    )

    ignore: Annotated[
        str | None,
        doc("Paths to leave out of the artifact, in the format of .gitignore."),
    ] = None
    include: Annotated[
        tuple[GitRepositoryInclude, ...],
        doc("Other GitRepository objects of the namespace whose content is added."),
    ] = ()
    interval: Annotated[Duration, doc("How often the repository is checked for changes.")]
    provider: Annotated[
        GitProvider | None,
        doc("How to authenticate where it is not by the Secret alone; generic by default."),
    ] = None
    proxy_secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with address, username and password of the proxy to use."),
    ] = None
    recurse_submodules: Annotated[
        bool, doc("Also fetches the submodules, with the same credentials.")
    ] = False
    ref: Annotated[
        GitRepositoryRef | None, doc("What to check out; the branch master by default.")
    ] = None
    secret_ref: Annotated[
        LocalObjectReference | None,
        doc(
            "Secret with credentials. HTTPS: username and password, or bearerToken, and"
            " optionally ca.crt. SSH: identity and known_hosts. GitHub: githubAppID,"
            " githubAppPrivateKey, and githubAppInstallationOwner or githubAppInstallationID."
        ),
    ] = None
    service_account_name: Annotated[
        str, doc("ServiceAccount whose identity is used with the provider.")
    ] = ""
    sparse_checkout: Annotated[
        tuple[str, ...], doc("Folders to check out; everything by default.")
    ] = ()
    suspend: Annotated[bool, doc("Stops the reconciliation of this object.")] = False
    timeout: Annotated[
        str,
        Meta(pattern=_TIMEOUT_PATTERN),
        doc("How long a fetch may take."),
        server_default(_DEFAULT_TIMEOUT),
    ] = _DEFAULT_TIMEOUT
    url: Annotated[
        str,
        Meta(pattern=r"^(http|https|ssh)://.*$"),
        doc("Address of the repository: http, https or ssh."),
    ]
    verify: Annotated[
        GitRepositoryVerification | None, doc("Signatures to check before content is trusted.")
    ] = None

    @property
    def interval_seconds(self) -> float:
        """Seconds between checks."""
        return max(seconds(self.interval, 0.0), SHORTEST_INTERVAL)

    @property
    def timeout_seconds(self) -> float:
        """Seconds a fetch may take."""
        return seconds(self.timeout, 60.0)


class GitRepositoryStatus(MutableModel, kw_only=True):
    """What was fetched last, and how that went."""

    artifact: Annotated[Artifact | None, doc("The last archive that was stored.")] = None
    conditions: Annotated[list[Condition], doc("State of the object, aspect by aspect.")] = field(
        default_factory=list
    )
    included_artifacts: Annotated[
        list[Artifact], doc("The artifacts that went into the last archive by include.")
    ] = field(default_factory=list)
    last_handled_reconcile_at: Annotated[
        str, doc("Token of the last reconcile request that was acted on.")
    ] = ""
    observed_generation: Annotated[
        int, doc("The last generation that was reconciled."), schema_only(format="int64")
    ] = 0
    observed_ignore: Annotated[
        str | None, doc("The ignore rules that the artifact was made with.")
    ] = None
    observed_include: Annotated[
        list[GitRepositoryInclude], doc("The includes that the artifact was made with.")
    ] = field(default_factory=list)
    observed_recurse_submodules: Annotated[
        bool, doc("Whether the artifact was made with submodules.")
    ] = False
    observed_sparse_checkout: Annotated[
        list[str], doc("The folders that the artifact was limited to.")
    ] = field(default_factory=list)
    source_verification_mode: Annotated[
        str | None, doc("The mode that signatures were last checked in.")
    ] = None


class GitRepository(Model, kw_only=True, frozen=True):
    """A Git repository whose content becomes an artifact."""

    API_VERSION: ClassVar[str] = f"{GROUP}/v1"
    KIND: ClassVar[str] = "GitRepository"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: GitRepositorySpec
    status: GitRepositoryStatus = field(default_factory=GitRepositoryStatus)


class NamespaceSelector(Model, kw_only=True, frozen=True):
    """Namespaces by their labels; without labels all of them."""

    match_labels: Annotated[
        dict[str, str], doc("Labels that a namespace must have, each with its value.")
    ] = field(default_factory=dict)


class SourceAccess(Model, kw_only=True, frozen=True):
    """Who in other namespaces may refer to a source."""

    namespace_selectors: Annotated[
        tuple[NamespaceSelector, ...], doc("Namespaces that may; one selector must fit.")
    ]


class HelmRepositorySpec(Model, kw_only=True, frozen=True):
    """Where charts are published, and how and how often their index is fetched."""

    access_from: Annotated[
        SourceAccess | None, doc("Namespaces whose objects may refer to this one.")
    ] = None
    cert_secret_ref: Annotated[
        LocalObjectReference | None,
        doc(
            "Secret with ca.crt, trusted beside the system's authorities, or the client"
            " certificate tls.crt and its tls.key, or both. It wins over those of secretRef."
        ),
    ] = None
    insecure: Annotated[bool, doc("Allows a registry without TLS; for type oci only.")] = False
    interval: Annotated[
        Duration | None, doc("How often the index is checked for changes; 1m by default.")
    ] = None
    pass_credentials: Annotated[
        bool, doc("Sends the credentials also to other hosts that charts are downloaded from.")
    ] = False
    provider: Annotated[
        RegistryProvider,
        doc("How to log in to the registry; for type oci only."),
        server_default("generic"),
    ] = "generic"
    secret_ref: Annotated[
        LocalObjectReference | None,
        doc(
            "Secret with username and password. A CA or client certificate in it still counts,"
            " but belongs into the Secret of certSecretRef."
        ),
    ] = None
    suspend: Annotated[bool, doc("Stops the reconciliation of this object.")] = False
    timeout: Annotated[
        Annotated[str, Meta(pattern=_TIMEOUT_PATTERN)] | None,
        doc("How long fetching the index, or pulling a chart of type oci, may take; 60s."),
    ] = None
    type: Annotated[
        HelmRepositoryType | None,
        doc("default for an index over HTTP, oci for a registry."),
    ] = None
    url: Annotated[
        str,
        Meta(pattern=r"^(http|https|oci)://.*$"),
        doc("Address of the repository: http or https, or oci for the type oci."),
    ]

    @property
    def interval_seconds(self) -> float:
        """Seconds between checks."""
        return max(seconds(self.interval, 60.0), SHORTEST_INTERVAL)

    @property
    def timeout_seconds(self) -> float:
        """Seconds a fetch may take."""
        return seconds(self.timeout, 60.0)


class HelmRepositoryStatus(MutableModel, kw_only=True):
    """Which index was fetched last, and how that went."""

    artifact: Annotated[Artifact | None, doc("The last index that was stored.")] = None
    conditions: Annotated[list[Condition], doc("State of the object, aspect by aspect.")] = field(
        default_factory=list
    )
    last_handled_reconcile_at: Annotated[
        str, doc("Token of the last reconcile request that was acted on.")
    ] = ""
    observed_generation: Annotated[
        int, doc("The last generation that was reconciled."), schema_only(format="int64")
    ] = 0
    url: Annotated[str, doc("Address of the newest index, whichever it is.")] = ""


class HelmRepository(Model, kw_only=True, frozen=True):
    """A repository of Helm charts, whose index becomes an artifact."""

    API_VERSION: ClassVar[str] = f"{GROUP}/v1"
    KIND: ClassVar[str] = "HelmRepository"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: HelmRepositorySpec
    status: HelmRepositoryStatus = field(default_factory=HelmRepositoryStatus)

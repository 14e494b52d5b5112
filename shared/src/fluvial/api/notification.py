"""``notification.toolkit.fluxcd.io``: who is told what, and who may wake what from outside."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from fluvial.api.meta import (
    SHORTEST_INTERVAL,
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
    "DEFAULT_SEVERITY",
    "GROUP",
    "Alert",
    "AlertSpec",
    "EventSource",
    "OIDCProvider",
    "OIDCValidation",
    "OIDCVariable",
    "Provider",
    "ProviderSpec",
    "ProviderType",
    "Receiver",
    "ReceiverResource",
    "ReceiverSpec",
    "ReceiverStatus",
    "ReceiverType",
    "Severity",
]

GROUP = "notification.toolkit.fluxcd.io"

ReceiverType = Literal[
    "generic",
    "generic-hmac",
    "generic-oidc",
    "github",
    "gitlab",
    "bitbucket",
    "harbor",
    "dockerhub",
    "quay",
    "gcr",
    "nexus",
    "acr",
    "cdevents",
]
ProviderType = Literal[
    "slack",
    "discord",
    "msteams",
    "rocket",
    "generic",
    "generic-hmac",
    "github",
    "gitlab",
    "gitea",
    "giteapullrequestcomment",
    "bitbucketserver",
    "bitbucket",
    "azuredevops",
    "googlechat",
    "googlepubsub",
    "webex",
    "sentry",
    "azureeventhub",
    "telegram",
    "lark",
    "matrix",
    "opsgenie",
    "alertmanager",
    "grafana",
    "githubdispatch",
    "githubpullrequestcomment",
    "gitlabmergerequestcomment",
    "pagerduty",
    "datadog",
    "nats",
    "zulip",
    "otel",
]
Severity = Literal["info", "error"]
EventSourceKind = Literal[
    "Bucket",
    "GitRepository",
    "Kustomization",
    "HelmRelease",
    "HelmChart",
    "HelmRepository",
    "ImageRepository",
    "ImagePolicy",
    "ImageUpdateAutomation",
    "OCIRepository",
    "ArtifactGenerator",
    "ExternalArtifact",
]
DEFAULT_SEVERITY: Severity = "info"
_DEFAULT_INTERVAL = "10m"
_TIMEOUT_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$"
_PROVIDER_SECONDS = 15.0
_COMMIT_STATUS = "['github', 'gitlab', 'gitea', 'bitbucketserver', 'bitbucket', 'azuredevops']"
_AUDIENCE = "notification-controller"


class EventSource(Model, kw_only=True, frozen=True):
    """Objects whose events are meant."""

    api_version: Annotated[str, doc("API group and version; not needed.")] = ""
    kind: Annotated[EventSourceKind, doc("Kind of the objects.")]
    match_labels: Annotated[dict[str, str], doc("Labels that the objects have.")] = field(
        default_factory=dict
    )
    name: Annotated[
        str, Meta(min_length=1, max_length=253), doc("Name of the object, or * for all of them.")
    ]
    namespace: Annotated[
        str,
        Meta(min_length=1, max_length=253),
        doc("Their namespace; that of the Alert by default."),
    ] = ""


class ProviderSpec(Model, kw_only=True, frozen=True):
    """Who is told, and how."""

    __cel__ = (
        CelRule(
            f"self.type in {_COMMIT_STATUS} || !has(self.commitStatusExpr)",
            "spec.commitStatusExpr is only for types that set the status of commits",
        ),
    )

    address: Annotated[
        str, Meta(max_length=2048), doc("Where messages go; the Secret's address wins.")
    ] = ""
    cert_secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with tls.crt and tls.key of a client certificate, and/or ca.crt."),
    ] = None
    channel: Annotated[
        str, Meta(max_length=2048), doc("Channel, room, topic or key, as the type has it.")
    ] = ""
    commit_status_expr: Annotated[
        str,
        doc("CEL expression for the name of a commit's status; sees event, alert and provider."),
    ] = ""
    interval: Annotated[Duration | None, doc("Not used any more.")] = None
    proxy: Annotated[
        str,
        Meta(max_length=2048, pattern="^(http|https)://.*$"),
        doc("Address of a proxy; proxySecretRef is the way to set one now."),
    ] = ""
    proxy_secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with address, username and password of the proxy to use."),
    ] = None
    secret_ref: Annotated[
        LocalObjectReference | None, doc("Secret with address, token and what else the type needs.")
    ] = None
    service_account_name: Annotated[
        str, doc("ServiceAccount whose identity in a cloud is used to log in.")
    ] = ""
    suspend: Annotated[bool, doc("Tells nobody anything.")] = False
    timeout: Annotated[
        str, Meta(pattern=_TIMEOUT_PATTERN), doc("How long sending one message may take.")
    ] = ""
    type: Annotated[ProviderType, doc("Service or protocol.")]
    username: Annotated[
        str, Meta(max_length=2048), doc("Name under which messages are posted.")
    ] = ""

    @property
    def timeout_seconds(self) -> float:
        """Seconds that sending one message may take."""
        return seconds(self.timeout, _PROVIDER_SECONDS)


class Provider(Model, kw_only=True, frozen=True):
    """A service that people or programs are told by."""

    API_VERSION: ClassVar[str] = f"{GROUP}/v1beta3"
    KIND: ClassVar[str] = "Provider"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: ProviderSpec


class AlertSpec(Model, kw_only=True, frozen=True):
    """Which events somebody is told of."""

    event_metadata: Annotated[
        dict[str, str], doc("Facts that are added to the metadata of events.")
    ] = field(default_factory=dict)
    event_severity: Annotated[
        Severity, doc("The least severity that is told."), server_default(DEFAULT_SEVERITY)
    ] = DEFAULT_SEVERITY
    event_sources: Annotated[tuple[EventSource, ...], doc("Whose events are told.")]
    exclusion_list: Annotated[
        tuple[str, ...], doc("Regular expressions (RE2); messages that match one are not told.")
    ] = ()
    inclusion_list: Annotated[
        tuple[str, ...],
        doc(
            "Regular expressions (RE2); where there are any, only messages that match one are told."
        ),
    ] = ()
    provider_ref: Annotated[LocalObjectReference, doc("Provider that tells it.")]
    summary: Annotated[
        str, Meta(max_length=255), doc("What it is about; eventMetadata is the way to say it now.")
    ] = ""
    suspend: Annotated[bool, doc("Tells nobody anything.")] = False


class Alert(Model, kw_only=True, frozen=True):
    """A choice of events that a Provider tells."""

    API_VERSION: ClassVar[str] = f"{GROUP}/v1beta3"
    KIND: ClassVar[str] = "Alert"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: AlertSpec


class ReceiverResource(Model, kw_only=True, frozen=True):
    """Objects that a call wakes."""

    api_version: Annotated[str, doc("API group and version; known for the kinds of sources.")] = ""
    filter: Annotated[
        str,
        doc(
            "CEL expression; only objects for which it is true are woken. It sees res, the object's"
            " metadata, and req, the body of the request."
        ),
    ] = ""
    kind: Annotated[EventSourceKind, doc("Kind of the objects.")]
    match_labels: Annotated[
        dict[str, str], doc("Labels that the objects have; needed where the name is *.")
    ] = field(default_factory=dict)
    name: Annotated[
        str,
        Meta(min_length=1, max_length=253),
        doc("Name of the object, or * for all that have the labels."),
    ]
    namespace: Annotated[
        str,
        Meta(min_length=1, max_length=253),
        doc("Their namespace; that of the Receiver by default."),
    ] = ""


class OIDCVariable(Model, kw_only=True, frozen=True):
    """A value that validations use as vars.<name>."""

    expression: Annotated[str, doc("CEL expression over claims and the variables before this.")]
    name: Annotated[str, doc("Name of the variable.")]


class OIDCValidation(Model, kw_only=True, frozen=True):
    """A condition that a token must meet."""

    expression: Annotated[str, doc("CEL expression over claims and vars that must be true.")]
    message: Annotated[str, doc("What is logged where it is not.")]


class OIDCProvider(Model, kw_only=True, frozen=True):
    """Whose tokens are taken, and which of them."""

    audience: Annotated[
        str, doc("Audience that the tokens must name; notification-controller by default.")
    ] = _AUDIENCE
    issuer_url: Annotated[
        str,
        Meta(pattern="^https?://"),
        doc("The issuer; its discovery document and keys are fetched from there."),
    ] = field(name="issuerURL")
    validations: Annotated[
        tuple[OIDCValidation, ...],
        schema_only(minItems=1),
        doc("Conditions that must all be met."),
    ]
    variables: Annotated[
        tuple[OIDCVariable, ...], doc("Values that are computed before, in this order.")
    ] = ()


class ReceiverSpec(Model, kw_only=True, frozen=True):
    """Who may call, how calls are proved, and what they wake."""

    __cel__ = (
        CelRule(
            "self.type != 'generic-oidc' || (has(self.oidcProviders) &&"
            " size(self.oidcProviders) > 0)",
            "spec.oidcProviders is required for type generic-oidc",
        ),
        CelRule(
            "self.type == 'generic-oidc' || !has(self.oidcProviders)",
            "spec.oidcProviders is only for type generic-oidc",
        ),
        CelRule(
            "self.type == 'generic-oidc' || has(self.secretRef)",
            "spec.secretRef is required unless the type is generic-oidc",
        ),
        CelRule(
            "self.type != 'generic-oidc' || !has(self.secretRef)",
            "spec.secretRef is not for type generic-oidc",
        ),
    )

    events: Annotated[
        tuple[str, ...], doc("Names of events, such as push; all of them where there are none.")
    ] = ()
    interval: Annotated[
        Duration,
        doc("How often the Receiver is looked at again."),
        server_default(_DEFAULT_INTERVAL),
    ] = _DEFAULT_INTERVAL
    oidc_providers: Annotated[
        tuple[OIDCProvider, ...],
        schema_only(
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["issuerURL"]}
        ),
        doc("Issuers of the tokens that prove a caller of type generic-oidc."),
    ] = field(default=(), name="oidcProviders")
    resource_filter: Annotated[
        str, doc("CEL expression, as the filter of a resource, for all of them.")
    ] = ""
    resources: Annotated[tuple[ReceiverResource, ...], doc("What a call wakes.")]
    secret_ref: Annotated[
        LocalObjectReference | None,
        doc("Secret with the token that makes the address and proves the caller."),
    ] = None
    suspend: Annotated[bool, doc("Refuses calls, and stops the reconciliation.")] = False
    type: Annotated[ReceiverType, doc("Who calls, which says how a call is proved.")]

    @property
    def interval_seconds(self) -> float:
        """Seconds between looks."""
        return max(seconds(self.interval, 600.0), SHORTEST_INTERVAL)


class ReceiverStatus(MutableModel, kw_only=True):
    """Where calls go."""

    conditions: Annotated[list[Condition], doc("State of the object, aspect by aspect.")] = field(
        default_factory=list
    )
    last_handled_reconcile_at: Annotated[
        str, doc("Token of the last reconcile request that was acted on.")
    ] = ""
    observed_generation: Annotated[
        int, doc("The last generation that was reconciled."), schema_only(format="int64")
    ] = 0
    webhook_path: Annotated[
        str, doc("Path of the address for callers, below the one of the webhook receiver.")
    ] = ""


class Receiver(Model, kw_only=True, frozen=True):
    """An address that wakes objects when it is called."""

    API_VERSION: ClassVar[str] = f"{GROUP}/v1"
    KIND: ClassVar[str] = "Receiver"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: ReceiverSpec
    status: ReceiverStatus = field(default_factory=ReceiverStatus)

"""The options that all controllers share, under Flux' names and with Flux' defaults.

An app makes a ``FlagSet``, calls ``common_options``, declares its own flags, parses, and turns the
result into ``CommonOptions``; only apps read flags and the environment. What is not supported is
refused by name, never ignored: an unknown feature gate, a gate that cannot be switched yet, a
combination that would do something else than it says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from fluvial.kube.config import kubeconfig_paths
from fluvial.log import LogEncoding, LogLevel
from fluvial.net.policy import Network, parse_networks
from fluvial.runtime.flags import FlagError, Flags, FlagSet

__all__ = [
    "CONFIG_WATCH_SELECTOR",
    "IDENTITY_GATE",
    "CommonOptions",
    "Gate",
    "common_options",
    "read_common_options",
]

CONFIG_WATCH_SELECTOR = "reconcile.fluxcd.io/watch=Enabled"
IDENTITY_GATE = "ObjectLevelWorkloadIdentity"
DEFAULT_NAMESPACE = "flux-system"

_CONVERTED = frozenset({"kubeconfig", "allow-outbound"})
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Gate:
    """A feature gate: its default, and whether the other value is supported."""

    default: bool = False
    settable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """What every controller can be told; times in seconds, addresses as ``host:port`` or ``0``."""

    metrics_addr: str = ":8080"
    health_addr: str = ":9440"
    events_addr: str = ""
    kubeconfig: tuple[Path, ...] = ()
    kube_api_qps: float = 50.0
    kube_api_burst: int = 300
    log_encoding: LogEncoding = "json"
    log_level: LogLevel = "info"
    enable_leader_election: bool = False
    leader_election_release_on_cancel: bool = True
    leader_election_lease_duration: float = 35.0
    leader_election_renew_deadline: float = 30.0
    leader_election_retry_period: float = 5.0
    min_retry_delay: float = 0.75
    max_retry_delay: float = 900.0
    concurrent: int = 4
    requeue_dependency: float = 30.0
    http_retry: int = 9
    default_service_account: str = ""
    default_kubeconfig_service_account: str = ""
    no_cross_namespace_refs: bool = False
    insecure_kubeconfig_exec: bool = False
    insecure_kubeconfig_tls: bool = False
    watch_all_namespaces: bool = True
    watch_label_selector: str = ""
    watch_configs_label_selector: str = CONFIG_WATCH_SELECTOR
    interval_jitter_percentage: int = 5
    token_cache_max_size: int = 100
    token_cache_max_duration: float = 3600.0
    override_managers: tuple[str, ...] = ()
    allow_outbound: tuple[Network, ...] = ()
    """Networks that sources and providers may lead to although they are denied by kind."""
    gates: Mapping[str, bool] = field(default_factory=dict)
    runtime_namespace: str = DEFAULT_NAMESPACE
    """Where this controller runs: the namespace of its lease."""

    @property
    def watch_namespace(self) -> str:
        """The only namespace that is watched, or ``""`` for all."""
        return "" if self.watch_all_namespaces else self.runtime_namespace


def common_options(
    flags: FlagSet,
    *,
    environ: Mapping[str, str],
    concurrent: int = 4,
    omit: Collection[str] = (),
) -> None:
    """Declare the common flags.

    Args:
        flags: the program's flags.
        environ: METRICS_ADDR, EVENTS_ADDR and KUBECONFIG are defaults.
        concurrent: Flux' default for this controller: 2 for source-controller, else 4.
        omit: names of common flags that this controller does not have, so that they are refused.

    """
    _declare_process(flags, environ)
    _declare_api(flags, environ)
    _declare_election(flags)
    _declare_reconciling(flags, concurrent)
    _declare_identities(flags)
    for name in omit:
        flags.remove(name)


def read_common_options(
    flags: Flags,
    *,
    gates: Mapping[str, Gate],
    environ: Mapping[str, str],
    identity_flags: Collection[str] = ("default-kubeconfig-service-account",),
) -> CommonOptions:
    """Make the options of parsed flags.

    Args:
        flags: what ``FlagSet.parse`` returned.
        gates: the feature gates that this controller knows.
        environ: RUNTIME_NAMESPACE.
        identity_flags: flags that make sense only with the gate ObjectLevelWorkloadIdentity.

    Raises:
        FlagError: a value or a combination that is not supported.

    """
    states = _read_gates(flags["feature-gates"], gates)
    _check_identity(flags, states, identity_flags)
    _check_times(flags)
    runtime_namespace = environ.get("RUNTIME_NAMESPACE", "")
    if not flags["watch-all-namespaces"] and not runtime_namespace:
        raise FlagError(
            "--watch-all-namespaces=false needs the environment variable RUNTIME_NAMESPACE, "
            "which names the namespace to watch"
        )
    names = {item.name.replace("_", "-"): item.name for item in fields(CommonOptions)}
    values = {
        names[name]: flags[name] for name in flags if name in names and name not in _CONVERTED
    }
    return CommonOptions(
        **values,
        kubeconfig=kubeconfig_paths(flags["kubeconfig"]),
        override_managers=flags.get("override-manager", ()),
        allow_outbound=_networks(flags.get("allow-outbound", ())),
        gates=states,
        runtime_namespace=runtime_namespace or _pod_namespace(),
    )


def _declare_process(flags: FlagSet, environ: Mapping[str, str]) -> None:
    flags.address(
        "metrics-addr", environ.get("METRICS_ADDR") or ":8080", "Where metrics are served."
    )
    flags.address("health-addr", ":9440", "Where /healthz and /readyz are served.")
    flags.string("events-addr", environ.get("EVENTS_ADDR", ""), "URL of the receiver of events.")
    flags.string("log-encoding", "json", "json or console.", choices=("json", "console"))
    flags.string(
        "log-level",
        "info",
        "trace, debug, info or error.",
        choices=("trace", "debug", "info", "error"),
    )
    flags.strings("feature-gates", (), "Feature gates as name=true,name=false.")


def _declare_api(flags: FlagSet, environ: Mapping[str, str]) -> None:
    flags.string(
        "kubeconfig",
        environ.get("KUBECONFIG", ""),
        "Kubeconfig file; without one the pod's service account is used.",
    )
    flags.number(
        "kube-api-qps", 50.0, "Requests a second, unless the server limits itself.", minimum=0
    )
    flags.integer("kube-api-burst", 300, "Requests at once before the limit counts.", minimum=0)
    flags.switch(
        "insecure-kubeconfig-exec", "Allow exec plugins in kubeconfigs of remote clusters."
    )
    flags.switch("insecure-kubeconfig-tls", "Allow remote clusters without verified certificates.")


def _declare_election(flags: FlagSet) -> None:
    flags.switch("enable-leader-election", "Let one of several replicas work at a time.")
    flags.switch("leader-election-release-on-cancel", "Give the lease up at the end.", default=True)
    flags.duration(
        "leader-election-lease-duration", 35.0, "How long others respect a lease.", minimum=1
    )
    flags.duration(
        "leader-election-renew-deadline", 30.0, "How long to try renewing it.", minimum=0.001
    )
    flags.duration("leader-election-retry-period", 5.0, "Time between tries.", minimum=0.001)


def _declare_reconciling(flags: FlagSet, concurrent: int) -> None:
    flags.integer("concurrent", concurrent, "Objects reconciled at once, per kind.", minimum=1)
    flags.duration("min-retry-delay", 0.75, "Wait after the first failure.", minimum=0.001)
    flags.duration("max-retry-delay", 900.0, "The longest wait after failures.", minimum=0.001)
    flags.duration(
        "requeue-dependency", 30.0, "Wait before dependencies are looked at again.", minimum=0.001
    )
    flags.integer("http-retry", 9, "Tries to fetch an artifact again.", minimum=0)
    flags.integer("interval-jitter-percentage", 5, "Spread of intervals.", minimum=0, below=100)
    flags.switch("watch-all-namespaces", "Watch more than the own namespace.", default=True)
    flags.string("watch-label-selector", "", "Reconcile only objects with these labels.")
    flags.string(
        "watch-configs-label-selector",
        CONFIG_WATCH_SELECTOR,
        "ConfigMaps and Secrets with these labels wake what refers to them.",
    )
    flags.strings("override-manager", (), "Field managers whose fields are taken over.")


def _declare_identities(flags: FlagSet) -> None:
    flags.string("default-service-account", "", "Service account for objects that name none.")
    flags.string(
        "default-kubeconfig-service-account",
        "",
        "Service account for remote clusters of objects that name none.",
    )
    flags.strings(
        "allow-outbound",
        (),
        "Networks (CIDR) that may be connected to although they are loopback, link-local or such.",
    )
    flags.switch("no-cross-namespace-refs", "Refuse references to other namespaces.")
    flags.integer("token-cache-max-size", 100, "Cached tokens; 0 caches none.", minimum=0)
    flags.duration("token-cache-max-duration", 3600.0, "How long a token is cached, at most 1h.")


def _read_gates(settings: tuple[str, ...], known: Mapping[str, Gate]) -> dict[str, bool]:
    states = {name: gate.default for name, gate in known.items()}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise FlagError(f"unknown feature gate {name!r}: this controller knows {names}")
        if value.lower() not in {"true", "false"}:
            raise FlagError(f"feature gate {name!r} must be set to true or false, not {value!r}")
        wanted = value.lower() == "true"
        if wanted != known[name].default and not known[name].settable:
            raise FlagError(f"feature gate {name}={value.lower()} is not supported yet")
        states[name] = wanted
    return states


def _check_identity(
    flags: Flags, states: Mapping[str, bool], identity_flags: Collection[str]
) -> None:
    if states.get(IDENTITY_GATE, False):
        return
    for name in identity_flags:
        if flags.get(name):
            raise FlagError(
                f"inconsistent configuration: --{name} needs the feature gate {IDENTITY_GATE}"
            )


def _check_times(flags: Flags) -> None:
    lease, renew, retry = (
        flags[f"leader-election-{name}"]
        for name in ("lease-duration", "renew-deadline", "retry-period")
    )
    if not lease > renew > retry:
        raise FlagError(
            "--leader-election-lease-duration must be longer than "
            "--leader-election-renew-deadline, and that longer than --leader-election-retry-period"
        )
    if flags["min-retry-delay"] > flags["max-retry-delay"]:
        raise FlagError("--min-retry-delay must not be longer than --max-retry-delay")
    if flags.get("token-cache-max-duration", 0.0) > 3600:
        raise FlagError("--token-cache-max-duration must not be longer than 1h")


def _networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    try:
        return parse_networks(",".join(entries))
    except ValueError as error:
        raise FlagError(f"--allow-outbound: {error}") from error


def _pod_namespace() -> str:
    try:
        return _NAMESPACE_FILE.read_text(encoding="utf-8").strip() or DEFAULT_NAMESPACE
    except OSError:
        return DEFAULT_NAMESPACE

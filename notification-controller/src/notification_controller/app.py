"""Composition root of notification-controller: the only place that reads flags and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fluvial.cloud.http import CloudHttp
from fluvial.cloud.settings import CloudSettings
from fluvial.log import get_logger, setup_logging
from fluvial.net.policy import Network, parse_networks
from fluvial.runtime.flags import FlagError, FlagSet
from fluvial.runtime.identities import IdentityRules
from fluvial.runtime.manager import Manager
from fluvial.runtime.options import (
    IDENTITY_GATE,
    CommonOptions,
    Gate,
    common_options,
    read_common_options,
)
from notification_controller.assemble import NotificationController, Parts, Settings

__all__ = ["Options", "main", "read_options"]

NAME = "notification-controller"
VERSION = "0.1.0"

GATES: Mapping[str, Gate] = {
    "CacheSecretsAndConfigMaps": Gate(settable=False),
    "DisableConfigWatchers": Gate(),
    IDENTITY_GATE: Gate(),
}
# Flags of other controllers, which notification-controller of Flux does not have.
_OMITTED = (
    "events-addr",
    "http-retry",
    "requeue-dependency",
    "insecure-kubeconfig-exec",
    "insecure-kubeconfig-tls",
    "override-manager",
    "default-kubeconfig-service-account",
    "watch-label-selector",
    "interval-jitter-percentage",
)


@dataclass(frozen=True, slots=True)
class Options:
    """The common options and this controller's own.

    Attributes:
        receiver_addr: where webhooks are taken.
        events_addr: where events are taken.
        event_interval: seconds for which an event that comes again is not told again.
        trusted_proxies: networks of proxies that say who called a webhook.
        cloud: what the environment says about the controller's own cloud identities.

    """

    common: CommonOptions
    receiver_addr: str
    events_addr: str
    event_interval: float
    trusted_proxies: tuple[Network, ...] = ()
    cloud: CloudSettings = field(default_factory=CloudSettings)


def read_options(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read the command line and set up logging.

    Raises:
        FlagError: a flag is unknown, has a bad value or is not supported yet.
        HelpRequested: ``--help``.

    """
    flags = FlagSet(NAME)
    common_options(flags, environ=environ, omit=_OMITTED)
    flags.address("receiverAddr", ":9292", "Where webhooks are taken.")
    flags.address("events-addr", ":9090", "Where events of the other controllers are taken.")
    flags.duration(
        "rate-limit-interval", 300.0, "For how long an event that comes again is not told again."
    )
    flags.strings(
        "trusted-proxies",
        text="Networks of proxies in front of --receiverAddr whose X-Forwarded-For says who calls.",
    )
    parsed = flags.parse(arguments)
    options = Options(
        common=_common(
            read_common_options(
                parsed, gates=GATES, environ=environ, identity_flags=("default-service-account",)
            )
        ),
        receiver_addr=parsed["receiverAddr"],
        events_addr=parsed["events-addr"],
        event_interval=parsed["rate-limit-interval"],
        trusted_proxies=_networks(parsed["trusted-proxies"]),
        cloud=CloudSettings.read(environ),
    )
    setup_logging(level=options.common.log_level, encoding=options.common.log_encoding)
    return options


async def main(options: Options) -> int:
    """Run the controller; its exit code."""
    log = get_logger(NAME)
    common = options.common
    async with Manager(common, name=NAME, version=VERSION, log=log) as manager:
        dialer = await manager.dialer()
        parts = Parts(
            client=manager.client,
            everywhere=manager.everywhere,
            informers=manager.informers,
            events=manager.events,
            metrics=manager.metrics,
            dialer=dialer,
            http=CloudHttp(dialer),
            clock=manager.clock,
            log=log,
        )
        controller = NotificationController(parts, settings_of(options))
        manager.serve(controller.webhooks(), options.receiver_addr, "receiver")
        manager.serve(controller.events(), options.events_addr, "events")
        for part in controller.everywhere:
            manager.add(part, leader_only=False)
        for leading in controller.leading:
            manager.add(leading)
        return await manager.run()


def settings_of(options: Options) -> Settings:
    """What the flags say, as the controller takes it."""
    common = options.common
    watches_configs = not common.gates["DisableConfigWatchers"]
    return Settings(
        concurrency=common.concurrent,
        retry_delays=(common.min_retry_delay, common.max_retry_delay),
        cross_namespace=not common.no_cross_namespace_refs,
        namespace=common.watch_namespace,
        config_selector=common.watch_configs_label_selector if watches_configs else "",
        event_interval=options.event_interval,
        trusted_proxies=options.trusted_proxies,
        identities=IdentityRules.of(
            common, options.cloud, default_account=common.default_service_account
        ),
    )


def _common(options: CommonOptions) -> CommonOptions:
    """Its own events are for the cluster alone: they are about telling others."""
    return replace(options, events_addr="")


def _networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    try:
        return parse_networks(",".join(entries))
    except ValueError as error:
        raise FlagError(f"--trusted-proxies: {error}") from error

"""``/healthz`` and ``/readyz``, for the kubelet.

Healthy means that the event loop answers. Ready means that every check says so: the manager's own
(caches filled, not stopping) and what controllers add. A replica that waits for leadership is
ready, as in Flux; otherwise a rollout would wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

__all__ = ["Probes", "ReadyCheck", "probes_app"]

ReadyCheck = Callable[[], str]
"""``""`` when ready, else the reason; called on the loop, returns at once."""


class Probes:
    """The readiness checks of one process."""

    def __init__(self) -> None:
        self._checks: dict[str, ReadyCheck] = {}

    def add(self, name: str, check: ReadyCheck) -> None:
        """Be ready only while ``check`` returns ``""``.

        Raises:
            ValueError: there is a check of that name.

        """
        if name in self._checks:
            raise ValueError(f"readiness check {name!r} exists already")
        self._checks[name] = check

    def failures(self) -> dict[str, str]:
        """The reasons for not being ready, by check."""
        reasons = {name: check() for name, check in self._checks.items()}
        return {name: reason for name, reason in reasons.items() if reason}


def probes_app(probes: Probes) -> web.Application:
    """An application that serves both probes: 200 ``ok``, or 500 with the reasons."""

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def ready(_: web.Request) -> web.Response:
        failures = probes.failures()
        if not failures:
            return web.Response(text="ok")
        lines = [f"{name}: {reason}" for name, reason in failures.items()]
        return web.Response(status=500, text="\n".join(lines))

    app = web.Application()
    app.router.add_get("/healthz", healthy)
    app.router.add_get("/readyz", ready)
    return app

"""Structured logs in Flux's field names, one JSON object a line on standard error.

Lines have ``level`` (trace, debug, info, error), ``ts`` (RFC 3339 with milliseconds) and ``msg``;
reconcilers bind ``controller``, ``controllerKind``, ``namespace``, ``name`` and ``reconcileID``.
A message is a constant; what varies is a field; a secret is neither.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import orjson
import structlog

__all__ = ["LogEncoding", "LogLevel", "Logger", "get_logger", "setup_logging"]

LogEncoding = Literal["json", "console"]
LogLevel = Literal["trace", "debug", "info", "error"]
Logger = structlog.typing.FilteringBoundLogger

_LEVELS: dict[str, int] = {
    "trace": logging.NOTSET + 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "error": logging.ERROR,
}


def get_logger(name: str) -> Logger:
    """A logger whose lines carry ``logger: name``."""
    logger: Logger = structlog.get_logger().bind(logger=name)
    return logger


def setup_logging(*, level: LogLevel = "info", encoding: LogEncoding = "json") -> None:
    """Configure the process once, in ``app``; tests may call it again."""
    head: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    wrapper = structlog.make_filtering_bound_logger(_LEVELS[level])
    if encoding == "json":
        structlog.configure(
            processors=[
                *head,
                structlog.processors.format_exc_info,
                structlog.processors.EventRenamer("msg"),
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
            wrapper_class=wrapper,
            logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
            cache_logger_on_first_use=False,
        )
        return
    structlog.configure(
        processors=[*head, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())],
        wrapper_class=wrapper,
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _dumps(value: Any, default: Any = None, **_: Any) -> bytes:
    return orjson.dumps(value, default=default or str)

"""Structured logs in Flux's field names, one JSON object a line on standard error.

Lines have ``level`` (trace, debug, info, error), ``ts`` (RFC 3339 with milliseconds) and ``msg``;
reconcilers bind ``controller``, ``controllerKind``, ``namespace``, ``name`` and ``reconcileID``. A
failure adds ``error`` and, where it was not foreseen, ``stacktrace``. A message is a constant;
what varies is a field; a secret is neither.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import orjson
import structlog

__all__ = ["LogEncoding", "LogLevel", "Logger", "get_logger", "setup_logging", "trace"]

LogEncoding = Literal["json", "console"]
LogLevel = Literal["trace", "debug", "info", "error"]
Logger = structlog.typing.FilteringBoundLogger

# structlog knows no level below debug: trace lines travel as debug lines that carry a mark.
_TRACE_MARK = "_trace"
_NAME = "logger_name"  # ``logger`` itself is an argument of structlog's
_LEVELS: dict[LogLevel, int] = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "error": logging.ERROR,
}
_FLUX_LEVELS = {"warning": "info", "critical": "error"}  # Flux has no others than these four


def get_logger(name: str) -> Logger:
    """A logger whose lines carry ``logger: name``; it follows a later ``setup_logging``."""
    logger: Logger = structlog.get_logger(**{_NAME: name})
    return logger


def trace(log: Logger, message: str, **fields: Any) -> None:
    """Log below debug; dropped unless the level is ``trace``."""
    log.debug(message, **{_TRACE_MARK: True}, **fields)


def setup_logging(*, level: LogLevel = "info", encoding: LogEncoding = "json") -> None:
    """Configure the process once, in ``app``; tests may call it again.

    Args:
        level: the least important level that is written.
        encoding: ``json`` for machines, ``console`` for people.

    """
    head: list[structlog.typing.Processor] = [
        _keep_trace if level == "trace" else _drop_trace,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _flux_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True, key="ts"),
        _whole_milliseconds,
    ]
    wrapper = structlog.make_filtering_bound_logger(_LEVELS[level])
    if encoding == "json":
        structlog.configure(
            processors=[
                *head,
                _flux_error,
                structlog.processors.EventRenamer("msg"),
                _flux_order,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
            wrapper_class=wrapper,
            logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
            cache_logger_on_first_use=False,
        )
        return
    structlog.configure(
        processors=[
            *head,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                timestamp_key="ts",
                # The default shows local variables, and those hold credentials.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        wrapper_class=wrapper,
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


_Event = MutableMapping[str, Any]


def _keep_trace(_: Any, __: str, event: _Event) -> _Event:
    return event


def _drop_trace(_: Any, __: str, event: _Event) -> _Event:
    if _TRACE_MARK in event:
        raise structlog.DropEvent
    return event


def _flux_level(_: Any, __: str, event: _Event) -> _Event:
    if _NAME in event:
        event["logger"] = event.pop(_NAME)
    level = event["level"]
    event["level"] = "trace" if event.pop(_TRACE_MARK, False) else _FLUX_LEVELS.get(level, level)
    return event


def _whole_milliseconds(_: Any, __: str, event: _Event) -> _Event:
    event["ts"] = event["ts"].removesuffix("Z")[:-3] + "Z"
    return event


def _flux_error(logger: Any, method: str, event: _Event) -> _Event:
    """``exc_info`` becomes ``error`` (unless the line says it itself) and ``stacktrace``."""
    info = event.get("exc_info")
    if not info:
        event.pop("exc_info", None)
        return event
    error = info if isinstance(info, BaseException) else sys.exc_info()[1]
    if error is not None:
        event.setdefault("error", str(error) or type(error).__name__)
    formatted = dict(structlog.processors.format_exc_info(logger, method, dict(event)))
    event.pop("exc_info")
    if trail := formatted.get("exception"):
        event["stacktrace"] = trail
    return event


def _flux_order(_: Any, __: str, event: _Event) -> _Event:
    head = {key: event.pop(key) for key in ("level", "ts", "msg")}
    return {**head, **event}


def _dumps(value: Any, default: Any = None, **_: Any) -> bytes:
    try:
        return orjson.dumps(value, default=default or str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # Text that came as bytes of no encoding, or a number without end: a line must not fail.
        text = json.dumps(value, default=str, ensure_ascii=False, skipkeys=True)
        return text.encode("utf-8", "replace")

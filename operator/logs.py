"""Logs: one JSON object per line on standard output.

Our own records and those of libraries that use the standard library's logging
go through the same steps, so that every line has the same shape and no line
shows a secret. During a reconcile each line carries `controller`, `namespace`,
`name` and `reconcile_id` (context variables, set by the manager).
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["json", "console"]

LEVELS = ("debug", "info", "warning", "error")

_REDACTED = "[redacted]"
_SECRET_WORDS = frozenset({"token", "password", "authorization"})
# hfToken, HF_TOKEN and hf-token are three words for one thing; tokens is not.
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
# Deeper than any object worth logging; beyond it a value is shown as text.
_MAX_DEPTH = 8
# Libraries that tell of every request and every probe at info.
_CHATTY = ("httpx", "httpcore", "aiohttp.access", "asyncio", "azure", "kr8s")


def configure(level: str = "info", format: Format = "json") -> None:  # noqa: A002 -- the option's name
    """Set up logging for the process; the last call wins.

    Args:
        level: one of LEVELS; quieter records are dropped before they cost
            anything.
        format: `json` for machines, `console` for people.

    Raises:
        ValueError: the level or the format is unknown.
    """
    if level not in LEVELS:
        raise ValueError(f"log level must be one of {', '.join(LEVELS)}, got {level!r}")
    if format not in ("json", "console"):
        raise ValueError(f"log format must be json or console, got {format!r}")
    number = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared_steps()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                _renderer(format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace what looks like a secret, at any depth.

    A value is secret when a word of its key is token, password or
    authorization; in texts, what follows `Bearer` or `Basic` is.
    """
    return {key: _clean(key, value, 0) for key, value in event.items()}


def _clean(key: str, value: Any, depth: int) -> Any:
    if isinstance(value, Mapping | list | tuple):
        if depth >= _MAX_DEPTH:
            return _clean(key, str(value), depth)
        if isinstance(value, Mapping):
            return {k: _clean(str(k), v, depth + 1) for k, v in value.items()}
        return [_clean(key, item, depth + 1) for item in value]
    if value is not None and not _SECRET_WORDS.isdisjoint(_words(key)):
        return _REDACTED
    if isinstance(value, str):
        return _BEARER.sub(rf"\1 {_REDACTED}", value)
    return value


def _words(key: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(key)}


def _shared_steps() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # To text before it is redacted, and without the values of variables.
        structlog.processors.format_exc_info,
    ]


def _renderer(format: Format) -> Processor:  # noqa: A002 -- the option's name
    if format == "json":
        return structlog.processors.JSONRenderer(serializer=_dumps)
    return structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(),
        exception_formatter=structlog.dev.plain_traceback,
    )


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()

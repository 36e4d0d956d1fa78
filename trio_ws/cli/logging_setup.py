"""Logging of the command `trio-ws run`, unless the application configures it."""

from __future__ import annotations

import json
import logging
import logging.config
import tomllib
from pathlib import Path
from typing import Any, Final

from trio_ws.cli.defaults import DEFAULT_LEVEL
from trio_ws.cli.loading import UsageError

__all__ = ["LogConfigError", "apply", "configure", "read"]

_ENCODING: Final = "utf-8-sig"
"""Encoding of configuration files; some editors write a byte order mark."""

LogConfig = dict[str, Any] | Path
"""A mapping for `logging.config.dictConfig`, or the path of a file for `fileConfig`."""


class LogConfigError(UsageError):
    """The file of `--log-config` is unusable; the message has the reason."""


def read(path: str | None) -> LogConfig | None:
    """Read a file of `--log-config`: JSON, TOML or YAML; other files are for `fileConfig`.

    Raises:
        LogConfigError: the file cannot be read or parsed.
    """
    if path is None:
        return None
    file = Path(path)
    try:
        text = file.read_text(encoding=_ENCODING)
        match file.suffix.lower():
            case ".json":
                config = json.loads(text)
            case ".toml":
                config = tomllib.loads(text)
            case ".yaml" | ".yml":
                config = _yaml(text)
            case _:
                return file
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise LogConfigError(f"cannot read the logging configuration {path}: {reason}") from None
    if not isinstance(config, dict):
        raise LogConfigError(f"the logging configuration {path} is not a mapping for logging.config.dictConfig")
    return config


def _yaml(text: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore] # noqa: PLC0415 - not required
    except ImportError:
        raise LogConfigError("a logging configuration in YAML needs PyYAML; JSON and TOML need nothing") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def apply(config: LogConfig) -> None:
    """Configure logging from a file. Existing loggers stay enabled.

    Raises:
        LogConfigError: `logging.config` refuses the configuration.
    """
    try:
        if isinstance(config, Path):
            logging.config.fileConfig(config, disable_existing_loggers=False, encoding=_ENCODING)
        else:
            logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **config})
    except Exception as error:  # of any type: the file names classes and functions that are called
        cause = f": {error.__cause__}" if error.__cause__ is not None else ""
        raise LogConfigError(f"the logging configuration is refused: {' '.join(f'{error}{cause}'.split())}") from error


def configure(level: str | None, *, prefix: str = "", config: LogConfig | None = None, access: bool = False) -> None:
    """Write records to standard error, unless the application has configured handlers.

    Args:
        level: the level of `--log-level` for the logger `trio_ws`; None to leave it unchanged.
        prefix: text before the level's name in each line.
        config: a configuration to apply instead.
        access: also write a line for each connection that opens, closes or is refused, and for each page.

    Raises:
        LogConfigError: `logging.config` refuses `config`.
    """
    root = logging.getLogger()
    if config is not None:
        apply(config)
    elif not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f"%(asctime)s {prefix}%(levelname)s %(name)s: %(message)s"))
        handler.addFilter(_has_no_other_handler)
        root.addHandler(handler)
        if root.level == logging.WARNING:  # the default
            root.setLevel((level or DEFAULT_LEVEL).upper())
    if level is not None:
        logging.getLogger("trio_ws").setLevel(level.upper())
    if access:
        _add_access_log(prefix)


def _add_access_log(prefix: str) -> None:
    """Write the records of requests that are below the level of the other handlers, and hide them from these."""
    logger = logging.getLogger("trio_ws")
    level = logger.getEffectiveLevel()
    for handler in {*logger.handlers, *logging.getLogger().handlers}:
        handler.addFilter(lambda record: record.name != "trio_ws" or record.levelno >= level)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"%(asctime)s {prefix}%(message)s"))
    handler.addFilter(lambda record: record.name == "trio_ws" and record.levelno < level and _is_access(record))
    logging.getLogger().addHandler(handler)
    logger.setLevel(min(level, logging.DEBUG))


def _is_access(record: logging.LogRecord) -> bool:
    """Return True for a record of a connection that opens or closes, or of an answer to a request."""
    return hasattr(record, "connection_id") and not hasattr(record, "tls_error") and record.exc_info is None


def _has_no_other_handler(record: logging.LogRecord) -> bool:
    """Return True if no logger below the root handles the record, to avoid duplicates."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return False
        logger = logger.parent
    return True

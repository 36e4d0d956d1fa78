"""Logging of the command `trio-ws run`, as far as the application has not configured it."""

from __future__ import annotations

import json
import logging
import logging.config
import tomllib
from pathlib import Path
from typing import Any, Final

__all__ = ["LEVELS", "LogConfigError", "apply", "configure", "read"]

LEVELS: Final = ("debug", "info", "warning", "error")
DEFAULT_LEVEL: Final = "info"
_ENCODING: Final = "utf-8-sig"
"""Of files; there are editors that begin them with a byte order mark."""

LogConfig = dict[str, Any] | Path
"""What `logging.config.dictConfig` takes, or the path of a file that `fileConfig` takes."""


class LogConfigError(Exception):
    """The file of `--log-config` cannot be used; the message says why."""


def read(path: str | None) -> LogConfig | None:
    """Read a file of `--log-config`: `.json`, `.toml` or `.yaml`; anything else is left to `fileConfig`.

    Raises:
        LogConfigError: it cannot be read, or is none.
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
        raise LogConfigError(f"cannot read the logging configuration {path}: {error}") from None
    if not isinstance(config, dict):
        raise LogConfigError(f"the logging configuration {path} is no mapping, as logging.config.dictConfig takes it")
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
    """Configure logging by a file. Loggers that the application has made already stay enabled.

    Raises:
        LogConfigError: `logging.config` refuses it.
    """
    try:
        if isinstance(config, Path):
            logging.config.fileConfig(config, disable_existing_loggers=False, encoding=_ENCODING)
        else:
            logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **config})
    except Exception as error:  # of many types: the file names classes and functions, which are called
        cause = f": {error.__cause__}" if error.__cause__ is not None else ""
        raise LogConfigError(f"the logging configuration is refused: {error}{cause}") from error


def configure(level: str | None, *, prefix: str = "", config: LogConfig | None = None) -> None:
    """Write records to standard error, unless the application has configured where they go.

    Args:
        level: of `--log-level`; it is then the level of the logger `trio_ws`, whatever else is configured.
        prefix: of the level's name in each line.
        config: what to configure instead.

    Raises:
        LogConfigError: `logging.config` refuses `config`.
    """
    root = logging.getLogger()
    if config is not None:
        apply(config)
    elif not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f"%(asctime)s {prefix}%(levelname)s %(name)s: %(message)s"))
        handler.addFilter(_goes_nowhere_else)
        root.addHandler(handler)
        if root.level == logging.WARNING:  # as Python has it
            root.setLevel((level or DEFAULT_LEVEL).upper())
    if level is not None:
        logging.getLogger("trio_ws").setLevel(level.upper())


def _goes_nowhere_else(record: logging.LogRecord) -> bool:
    """Return whether no logger below the root handles the record, so that none is written twice."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return False
        logger = logger.parent
    return True

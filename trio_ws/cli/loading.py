"""Importing the application that the command line names."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from trio_ws.runtime.command import RunDuringImportError, importing

if TYPE_CHECKING:
    from trio_ws.app.application import App

__all__ = ["UsageError", "load"]


class UsageError(Exception):
    """The command cannot be executed; the message has the reason."""


def load(target: str) -> App:
    """Import an application: "module:name", or "module" for its `app`. The working directory comes first.

    Raises:
        UsageError: there is no such module, or no such application in it.
        Exception: importing the module failed.
    """
    name, _, attribute = target.partition(":")
    if not all(name.split(".")):
        raise UsageError(f"{name!r} is not the name of a module: give MODULE:APP, e.g. chat.main:app for chat/main.py")
    sys.path.insert(0, os.getcwd())
    try:
        with importing(name):
            module = importlib.import_module(name)
    except RunDuringImportError as error:
        raise UsageError(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module exists, and imports one that does not
        suggestion = name.removesuffix(".py").replace("/", ".")
        hint = "" if suggestion == name else f": did you mean {suggestion}:{attribute or 'app'}?"
        raise UsageError(f"there is no module {error.name!r}, from here ({os.getcwd()}){hint}") from None
    found: Any = module
    for part in (attribute or "app").split("."):
        found = getattr(found, part, None)
    if not _is_application(found):
        apps = [key for key, value in vars(module).items() if _is_application(value)]
        hint = f": did you mean {name}:{apps[0]}?" if apps else ": an application is created with App()"
        raise UsageError(f"there is no application {attribute or 'app'!r} in {name}{hint}")
    application: App = found
    return application


def _is_application(found: object) -> bool:
    return callable(getattr(found, "serve", None)) and not isinstance(found, type)

"""Importing the application that the command line names."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from trio_ws.runtime.command import RunDuringImportError, importing

if TYPE_CHECKING:
    from types import ModuleType

    from trio_ws.app.application import App

__all__ = ["UsageError", "check_module_name", "load", "working_directory"]

_FACTORY: Final = "create_app"
"""The name of a function that returns an application, as in Flask and Litestar."""


class UsageError(Exception):
    """The command cannot be executed; the message has the reason."""


def load(target: str, *, factory: bool = False) -> App:
    """Import an application: "module:name", or "module" for its `app`. The working directory comes first.

    A function that takes no arguments and returns an application is called: "module:create_app". Without a name,
    `create_app` is taken if there is no `app`.

    Args:
        target: names the application.
        factory: whether the name is that of a function, or of anything else to call.

    Raises:
        UsageError: there is no such module, or no such application in it.
        Exception: importing the module, or calling the function, failed.
    """
    name, _, attribute = target.partition(":")
    module = _module(name, attribute)
    if not attribute:
        attribute = next((each for each in (_FACTORY, "app") if factory and hasattr(module, each)), "app")
        if not hasattr(module, attribute) and hasattr(module, _FACTORY):
            attribute = _FACTORY
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if factory or (inspect.isroutine(found) and not _is_application(found)):
        return _made(found, f"{name}:{attribute}")
    if not _is_application(found):
        apps = [key for key, value in vars(module).items() if _is_application(value)]
        hint = f": did you mean {name}:{apps[0]}?" if apps else ": an application is created with App()"
        raise UsageError(f"there is no application {attribute!r} in {name}{hint}")
    application: App = found
    return application


def check_module_name(name: str) -> None:
    """Raise `UsageError` for what no module can be called."""
    if not all(name.split(".")):
        raise UsageError(f"{name!r} is not the name of a module: give MODULE:APP, e.g. chat.main:app for chat/main.py")


def working_directory() -> str:
    """Return the working directory.

    Raises:
        UsageError: it was removed.
    """
    try:
        return os.getcwd()
    except OSError as error:
        raise UsageError(f"the working directory is gone: {error}") from None


def _module(name: str, attribute: str) -> ModuleType:
    check_module_name(name)
    here = working_directory()
    sys.path.insert(0, here)
    try:
        with importing(name):
            return importlib.import_module(name)
    except RunDuringImportError as error:
        raise UsageError(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module exists, and imports one that does not
        suggestion = name.removesuffix(".py").replace("/", ".")
        hint = "" if suggestion == name else f": did you mean {suggestion}:{attribute or 'app'}?"
        raise UsageError(f"there is no module {error.name!r}, from here ({here}){hint}") from None


def _made(factory: Any, label: str) -> App:
    """Call a factory of an application."""
    if not callable(factory) or _is_application(factory):
        what = "an application: leave --factory out" if _is_application(factory) else "not there, or no function"
        raise UsageError(f"--factory calls {label}, which is {what}")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise UsageError(f"the factory {label} is called without arguments: {error}") from None
    except ValueError:  # of something built in
        pass
    try:
        with importing(label):
            made: Any = factory()
    except RunDuringImportError:
        raise UsageError(f"{label} serves by itself: name the App, or a function that returns it") from None
    if inspect.iscoroutine(made):
        made.close()
        raise UsageError(f"the factory {label} is async: what has to be awaited goes into the lifespan of the App")
    if not _is_application(made):
        raise UsageError(f"the factory {label} returned {type(made).__name__}, not an App")
    application: App = made
    return application


def _is_application(found: object) -> bool:
    return callable(getattr(found, "serve", None)) and not isinstance(found, type)

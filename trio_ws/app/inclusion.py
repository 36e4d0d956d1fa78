"""Inclusion of applications in another one: the checks, and the time while they run as part of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from trio_ws.app.errors import RegistrationError
from trio_ws.connection.settings import Settings
from trio_ws.handler.unwinding import LifespanOwner, unwound

if TYPE_CHECKING:
    from trio_ws.app.application import App
    from trio_ws.app.router import Router

__all__ = ["MAX_THREADS", "NOT_FOUND_STATUS", "Guest", "check_guests", "guests_of", "hosted", "with_parents"]

NOT_FOUND_STATUS: Final = 403
MAX_THREADS: Final = 500


@attrs.frozen
class Guest:
    """An application that is included in another one."""

    app: App
    parent: App
    """The application that includes it, directly or with a router between."""
    prefix: str
    """What its paths begin with."""


def guests_of(app: App) -> list[Guest]:
    """Return all applications that are included in one, at any depth, the outer ones first."""
    return list(_guests_in(app, app, ""))


def _guests_in(router: Router, parent: App, prefix: str) -> Iterator[Guest]:
    for below, inner in router._included:
        start, app = prefix + router._prefix + below, inner._application
        if app is not None:
            yield Guest(app, parent, start)
        yield from _guests_in(inner, app or parent, start)


def check_guests(host: App) -> None:
    """Refuse included applications that cannot be part of this one.

    Raises:
        RegistrationError: one has options that hold for a whole server, and are not those of the host, or two pages
            have one path.
    """
    guests = guests_of(host)
    for guest in guests:
        # The command line changes settings of the host later, which is no contradiction.
        names = [] if guest.app in host._checked_guests else _foreign_options(host, guest.app)
        if names:
            raise RegistrationError(
                f"the included App has {', '.join(f'{name}=' for name in names)} of its own, which holds for a whole "
                "server: give it to the including App, or to the routes that it is for; a Router has routes alone"
            )
    paths = [*host._pages._pages, *(guest.prefix + path for guest in guests for path in guest.app._pages._pages)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise RegistrationError(f"two pages have the path {twice!r}: include the App below a prefix")
    host._checked_guests.update(guest.app for guest in guests)


def _foreign_options(host: App, guest: App) -> list[str]:
    ours, theirs = _server_options(host), _server_options(guest)
    names = [name for name, value in theirs.items() if value != _DEFAULTS[name] and value != ours[name]]
    if host.sessions and guest.sessions and host.sessions != guest.sessions:
        names.append("sessions")
    return names


def _settings_of(settings: Settings) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in attrs.fields(Settings)}


_DEFAULTS: Final[dict[str, Any]] = {
    **_settings_of(Settings()),
    "instruments": None,
    "backplane": None,
    "not_found_status": NOT_FOUND_STATUS,
    "max_threads": MAX_THREADS,
}


def _server_options(app: App) -> dict[str, Any]:
    return {
        **_settings_of(app.settings),
        "instruments": app.instruments,
        "backplane": app._given_backplane,
        "not_found_status": app.not_found_status,
        "max_threads": app.max_threads,
    }


def with_parents(app: App) -> Iterator[App]:
    """Return an application and, while it runs as part of others, those around it, the nearest first."""
    each: App | None = app
    while each is not None:
        yield each
        each = each._parent


@asynccontextmanager
async def hosted(host: App) -> AsyncGenerator[None, None]:
    """Run included applications as part of the host, which runs; their lifespans are entered in their order.

    Each of them is left shielded; from cancellation on, in the host's `cleanup_timeout`.

    Raises:
        Exception: what a lifespan raises.
    """
    owner = LifespanOwner(host._nursery, host.settings.timeouts.cleanup_timeout)
    guests = {guest.app: guest.parent for guest in reversed(guests_of(host))}  # where it is included twice: the first
    async with AsyncExitStack() as stack:
        for app, parent in reversed(guests.items()):
            stack.enter_context(_borrowed(host, app, parent))
        for app in (host, *reversed(guests)):
            if app._lifespan is not None:
                await stack.enter_async_context(unwound(app._lifespan(app), owner, patient=True))
        yield


@contextmanager
def _borrowed(host: App, guest: App, parent: App) -> Iterator[None]:
    """Lend a guest what only a running application has."""
    own = guest._rooms, guest.everyone
    host._rooms.adopt(guest._rooms)
    guest._parent, guest._failures.outer = parent, parent._failures
    guest._rooms, guest.everyone = host._rooms, host.everyone
    guest._nursery, guest._limiter, guest._server = host._nursery, host._limiter, host._server
    guest.call_limiter = host.call_limiter
    try:
        yield
    finally:
        guest._rooms, guest.everyone = own
        guest._parent = guest._failures.outer = None
        guest._nursery = guest._limiter = guest.call_limiter = guest._server = None

"""Applications included in another one, with their checks and shared run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from trio_ws.app.errors import RegistrationError
from trio_ws.app.services import RunState
from trio_ws.connection.settings import Settings
from trio_ws.runtime.unwinding import LifespanOwner, unwound

if TYPE_CHECKING:
    from trio_ws.app.router import Router
    from trio_ws.app.services import AppServices
    from trio_ws.app.sessions import Sessions

__all__ = ["LIFESPAN_NOTE", "MAX_THREADS", "NOT_FOUND_STATUS", "Guest", "check_guests", "find_guests", "run_guests"]

NOT_FOUND_STATUS: Final = 403
MAX_THREADS: Final = 500
LIFESPAN_NOTE: Final = "(raised by the lifespan of the application)"
"""A note of errors that a lifespan has raised."""


@attrs.frozen(eq=False, repr=False)
class Guest:
    """An included application."""

    services: AppServices
    parent: AppServices
    """The including application, directly or with routers between."""
    prefix: str
    """The beginning of its paths."""


def find_guests(router: Router) -> list[Guest]:
    """Return all applications included at any depth, the outer ones first."""
    return list(_guests_in(router, router.services, ""))


def _guests_in(router: Router, parent: AppServices | None, prefix: str) -> Iterator[Guest]:
    for inner_prefix, inner in router.included:
        start, services = prefix + router.prefix + inner_prefix, inner.services
        if services is not None and parent is not None:
            yield Guest(services, parent, start)
        yield from _guests_in(inner, services or parent, start)


def check_guests(host: AppServices, guests: list[Guest]) -> None:
    """Accept the pages of included applications, or refuse the applications.

    Raises:
        RegistrationError: an included application has server-wide options that differ from the host's, or two pages
            have one path.
    """
    _check_places(host, guests)
    _check_sessions(host, guests)
    for guest in guests:
        # The command line changes settings of the host later, which is no contradiction.
        names = [] if guest.services in host.checked_guests else _foreign_options(host, guest.services)
        if names:
            raise RegistrationError(
                f"the included App has {', '.join(f'{name}=' for name in names)} of its own, which holds for a whole "
                "server: give it to the including App, or to the routes that it is for; a Router has routes alone"
            )
    paths = [
        *host.pages.own_paths,
        *(guest.prefix + path for guest in guests for path in guest.services.pages.own_paths),
    ]
    duplicate = next((path for path in paths if paths.count(path) > 1), None)
    if duplicate is not None:
        raise RegistrationError(f"two pages have the path {duplicate!r}: include the App below a prefix")
    host.checked_guests.update(guest.services for guest in guests)
    host.pages.included = tuple((guest.prefix, guest.services.pages) for guest in guests)


def _foreign_options(host: AppServices, guest: AppServices) -> list[str]:
    ours, theirs = _server_options(host), _server_options(guest)
    return [name for name, value in theirs.items() if value != _DEFAULTS[name] and value != ours[name]]


def _check_places(host: AppServices, guests: list[Guest]) -> None:
    for guest in guests:
        if host.running and not guest.services.running:
            raise RegistrationError("the application runs: include another App, whose lifespan is entered, before")
        if "{" in guest.prefix and guest.services.pages:
            raise RegistrationError(
                f"the included App has pages, which have fixed paths, and not one below {guest.prefix!r}: include it "
                "below a prefix without parameters, or a Router with its routes"
            )


def _check_sessions(host: AppServices, guests: list[Guest]) -> None:
    kept: dict[str, Sessions] = {}
    for services in (host, *(guest.services for guest in guests)):
        sessions = services.sessions
        if sessions is None:
            continue
        if kept.setdefault(sessions.cookie, sessions) != sessions or (host.sessions or sessions) != sessions:
            raise RegistrationError(
                f"two Apps have sessions= that differ, in the cookie {sessions.cookie!r}: give both the same, or the "
                "including App alone"
            )


def _fields_of_settings(settings: Settings) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in attrs.fields(Settings)}


_DEFAULTS: Final[dict[str, Any]] = {
    **_fields_of_settings(Settings()),
    "instruments": (),
    "backplane": None,
    "not_found_status": NOT_FOUND_STATUS,
    "max_threads": MAX_THREADS,
}


def _server_options(services: AppServices) -> dict[str, Any]:
    return {
        **_fields_of_settings(services.settings),
        "instruments": services.given_instruments,
        "backplane": services.given_backplane,
        "not_found_status": services.not_found_status,
        "max_threads": services.max_threads,
    }


@asynccontextmanager
async def run_guests(host: AppServices, guests: list[Guest]) -> AsyncGenerator[None, None]:
    """Run included applications as part of the host, and enter all lifespans.

    Each lifespan is left shielded; from cancellation on, within the host's `cleanup_timeout`.

    Args:
        host: runs.
        guests: of the host, as `find_guests` returns them.

    Raises:
        Exception: raised by a lifespan.
    """
    owner = LifespanOwner(host.run_state.nursery, host.settings.timeouts.cleanup_timeout)
    parents = {guest.services: guest.parent for guest in reversed(guests)}  # where it is included twice: the first
    from_inside: BaseException | None = None
    try:
        async with AsyncExitStack() as stack:
            for services, parent in reversed(parents.items()):
                stack.enter_context(_lend(host, services, parent))
            for services in (host, *reversed(parents)):
                if services.lifespan is not None:
                    await stack.enter_async_context(unwound(services.lifespan(services.app), owner, patient=True))
            try:
                yield
            except BaseException as error:
                from_inside = error
                raise
    except Exception as error:
        if error is not from_inside:
            error.add_note(LIFESPAN_NOTE)
        raise


@contextmanager
def _lend(host: AppServices, guest: AppServices, parent: AppServices) -> Iterator[None]:
    """Share the host's rooms, connections and run state with a guest."""
    own = guest.rooms, guest.connections
    adopted = host.rooms.adopt(guest.rooms)
    guest.parent, guest.failures.outer = parent, parent.failures
    guest.rooms, guest.connections, guest.run_state = host.rooms, host.connections, host.run_state
    own_budgets, guest.budgets = guest.budgets, host.budgets
    try:
        yield
    finally:
        guest.rooms, guest.connections = own
        guest.budgets = own_budgets
        guest.rooms.take_back(*adopted, host.rooms)
        guest.parent = guest.failures.outer = None
        guest.run_state = RunState()

"""Parts shared by an application's routes, dispatcher and inclusion.

The larger ones are imported and made when they are first used, the last when the application runs: to declare routes
takes none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs

from trio_ws.app.failures import Failures
from trio_ws.app.route_options import parse_budget
from trio_ws.handler.instruments import instruments_of
from trio_ws.options import check_number
from trio_ws.runtime.threads import Limiters

if TYPE_CHECKING:
    import trio

    from trio_ws.app.budgets import Budget, BudgetBook
    from trio_ws.app.connections import ConnectionManager
    from trio_ws.app.pages import Pages
    from trio_ws.app.parameters.overrides import Overrides
    from trio_ws.app.sessions import Sessions
    from trio_ws.connection.settings import Settings
    from trio_ws.handler.instruments import Instrument, Instruments
    from trio_ws.rooms.backplane import Backplane
    from trio_ws.rooms.registry import Rooms
    from trio_ws.rooms.spread import BackplaneOption
    from trio_ws.server.server import Server
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["AppServices", "RunState"]


@attrs.define(eq=False, repr=False)
class RunState:
    """The parts of a running application, shared with included ones."""

    nursery: trio.Nursery | None = None
    limiters: Limiters = attrs.field(factory=Limiters)
    """Bound the threads of plain functions."""
    server: Server | None = None


class AppServices:
    """One application's options and shared parts, behind its `App`.

    Args:
        app: the `App`, for parameters annotated with it.
        settings: limits, timeouts and other options of connections.
        instruments: the `instruments=` option.
        sessions: load and store the clients' sessions; None for no sessions of its own.
        backplane: the `backplane=` option.
        lifespan: returns the context that is open while the application runs; None for none.
        not_found_status: HTTP status for a handshake without a route.
        max_threads: bound of each of the `Limiters`; `math.inf` for none.
        budget: the `budget=` option.

    Raises:
        ImportError: the backplane requires a package that is not installed.
        TypeError: an option is of another type.
        ValueError: an option can never work.
    """

    def __init__(
        self,
        app: Any,
        *,
        settings: Settings,
        instruments: Iterable[Instrument],
        sessions: Sessions | None,
        backplane: BackplaneOption,
        lifespan: Callable[[Any], AbstractAsyncContextManager[object]] | None,
        not_found_status: int,
        max_threads: float,
        budget: Budget | Iterable[Budget] | None = None,
    ) -> None:
        check_number("not_found_status", not_found_status, 400, 499)
        if max_threads != math.inf:
            check_number("max_threads", max_threads, 1)
        self.app: Any = app
        self.settings: Settings = settings
        given = tuple(instruments) if isinstance(instruments, Iterable) else instruments
        self.instruments: Instruments | None = instruments_of(given)
        self.given_instruments: tuple[Instrument, ...] = () if self.instruments is None else given
        self.sessions: Sessions | None = sessions
        self.given_backplane: BackplaneOption = backplane
        self.lifespan: Callable[[Any], AbstractAsyncContextManager[object]] | None = lifespan
        self.not_found_status: int = not_found_status
        self.max_threads: float = max_threads
        self.state: SimpleNamespace = SimpleNamespace()
        self.failures: Failures = Failures()
        if backplane is not None:
            self.rooms = _make_rooms(backplane, settings)  # an error of the option is one of `App(...)`
        self.run_state: RunState = RunState()
        self.budget: tuple[Budget, ...] = parse_budget(budget) or ()
        self.overrides: Overrides | None = None
        """Substitutes for dependencies, guards and values, in tests."""
        self.renewal: Any = None
        """The `Renewal`, messages by which clients renew their credentials; None without any."""
        self.parent: AppServices | None = None
        """The services of the including application, while that runs."""
        self.checked_guests: set[AppServices] = set()
        """The included applications with checked options."""

    @cached_property
    def pages(self) -> Pages:
        """Answers to plain GETs."""
        from trio_ws.app.pages import Pages  # noqa: PLC0415 - see above

        return Pages()

    @cached_property
    def rooms(self) -> Rooms:
        """The rooms by name."""
        return _make_rooms(None, self.settings)

    @cached_property
    def connections(self) -> ConnectionManager:
        """The connections in this process."""
        from trio_ws.app.connections import ConnectionManager  # noqa: PLC0415 - see above

        return ConnectionManager(self.rooms.backplane, self.settings.json)

    @cached_property
    def budgets(self) -> BudgetBook:
        """The accounts of all budgets."""
        from trio_ws.app.budgets import BudgetBook  # noqa: PLC0415 - see above

        return BudgetBook()

    @property
    def running(self) -> bool:
        """True while the application runs, by itself or included in another one."""
        return self.run_state.nursery is not None

    @property
    def limiters(self) -> Limiters:
        """Bounds of the threads of plain functions."""
        return self.run_state.limiters

    def with_parents(self) -> Iterator[AppServices]:
        """Yield these services, then those of the including applications, the nearest first."""
        services: AppServices | None = self
        while services is not None:
            yield services
            services = services.parent

    def find_overrides(self) -> Overrides | None:
        """Return the substitutes of this application, or of one that includes it."""
        return next((each.overrides for each in self.with_parents() if each.overrides is not None), None)

    def find_budgets(self) -> tuple[Budget, ...]:
        """Return the budgets of this application, or of one that includes it."""
        return next((each.budget for each in self.with_parents() if each.budget), ())

    def find_renewal(self) -> Any:
        """Return the `Renewal` of this application, or of one that includes it."""
        return next((each.renewal for each in self.with_parents() if each.renewal is not None), None)

    def use_backplane(self, backplane: BackplaneOption) -> Backplane:
        """Exchange the backplane of rooms and broadcasts, and return the one before; the rooms must not run."""
        before = self.rooms.backplane
        self.rooms.use_backplane(backplane)
        self.connections.backplane = self.rooms.backplane
        return before

    def open_session(self, websocket: WebSocket) -> None:
        """Load the client's session if any application around has sessions."""
        sessions = next((each.sessions for each in self.with_parents() if each.sessions is not None), None)
        if sessions is not None:
            session = sessions.load(websocket.request)
            websocket.context.session = session
            websocket.context.answer_headers = lambda: sessions.header(session, self.settings.json)

    async def report(self, websocket: WebSocket, error: BaseException) -> None:
        """Call the `on_error` callback, if any.

        Raises:
            Exception: raised by the callback.
            trio.Cancelled: before the callback was called, or in it.
        """
        await self.failures.report(websocket, error, self.limiters.calls)


def _make_rooms(backplane: BackplaneOption, settings: Settings) -> Rooms:
    """Return the rooms on a backplane.

    Raises:
        ImportError: the backplane requires a package that is not installed.
        TypeError: it is no backplane.
        ValueError: its URL makes no sense.
    """
    from trio_ws.rooms.backplane import Backplane  # noqa: PLC0415 - see above
    from trio_ws.rooms.registry import Rooms  # noqa: PLC0415

    if not (backplane is None or isinstance(backplane, str | list | tuple | Backplane)):
        raise TypeError(f"backplane takes the URL of a Redis or a Backplane, not {backplane!r}")
    return Rooms(backplane, encode_json=settings.json)

"""One connection's run through its route.

Parameters, guards, controller, dependencies and the function are resolved here when a client has connected. The module
`route_service` has the service of a route, which makes an invocation for each connection.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

from trio_ws.app.controller_calls import make_controller
from trio_ws.app.errors import ParameterError
from trio_ws.app.exchange import BoundListener
from trio_ws.app.guard_calls import check_guards
from trio_ws.app.guards import CONTEXT_KEY, GuardContext
from trio_ws.app.inline import run_inline
from trio_ws.app.last_call import last_call, last_callback, resolve_last
from trio_ws.app.limiting import limit_connection
from trio_ws.app.listener import Listener
from trio_ws.app.listener_options import ListenerOptions
from trio_ws.app.listening import run_listener
from trio_ws.app.losses import record_losses
from trio_ws.app.parameters.arguments import Arguments
from trio_ws.app.parameters.dependencies import Resolver
from trio_ws.app.refusals import bad_request, refusal_from, refuse_connection
from trio_ws.app.renewals import watch_renewals
from trio_ws.app.route import PlannedCall
from trio_ws.app.stays import Stays
from trio_ws.blocking.threads import in_thread
from trio_ws.connection.wrapped_reader import release_readers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping
    from types import TracebackType

    from trio_ws.app.guards import PlannedGuard
    from trio_ws.app.parameters.signature import Signature
    from trio_ws.app.room_sources import Joined
    from trio_ws.app.route import Route, Target
    from trio_ws.app.services import AppServices
    from trio_ws.rooms import Room
    from trio_ws.websocket.credentials import Credentials
    from trio_ws.websocket.websocket import DisconnectCallback, WebSocket

__all__ = ["RouteInvocation"]


class RouteInvocation:
    """The run of one connection through its route.

    Args:
        services: of the route's application.
        route: that matched.
        websocket: the connection, whose request has the path parameters of the route.
    """

    __slots__ = (
        "_controller",
        "_known_before",
        "_resolved",
        "_resolver",
        "_route",
        "_services",
        "_stays",
        "_websocket",
    )

    def __init__(self, services: AppServices, route: Route, websocket: WebSocket) -> None:
        self._services = services
        self._route = route
        self._websocket = websocket
        self._resolver: Resolver | None = None  # while there is something in it
        self._controller: Any = None
        self._stays: Stays | None = None
        self._known_before: int | None = services.connections.revocations.count
        """Revocations before the connection; None when it is over."""
        self._resolved: dict[Signature, Arguments | Resolver] | None = None
        """Resolved arguments of the route's own functions; a resolver for `on_disconnect` that enters contexts."""

    # --- before the function -------------------------------------------------------------------------------------

    async def __aenter__(self) -> None:
        """Prepare what the functions need, in the order of the design."""
        websocket = self._websocket
        websocket.context.invocation = self
        self._services.open_session(websocket)
        try:
            try:
                await self._prepare()
                watch_renewals(websocket, self._services.find_renewal(), self)
                limit_connection(websocket, self._route, self._services)
            except ParameterError as detail:
                raise bad_request(detail) from None
            except Exception as error:
                refusal = await refusal_from(error, websocket, self._services)
                if refusal is None:
                    raise
                raise refusal from None
        except BaseException as error:
            try:
                await self.resolver.__aexit__(type(error), error, error.__traceback__)
            finally:
                self._unregister()
            raise
        if not self.resolver.in_use:
            self._resolver = None  # it would be in each idle connection
        self._services.connections.active.add(websocket)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Unwind it when they have ended."""
        self._services.connections.active.discard(self._websocket)
        if self._websocket.context.channel is not None:
            release_readers(self._websocket.context.channel)
        await self.stays.leave_all()
        try:
            handled = self._resolver is not None and await self._resolver.__aexit__(kind, error, trace)
        finally:
            self._unregister()
        record_losses(self._websocket.context, error, handled=handled)
        return handled

    async def _prepare(self) -> None:
        """Convert the parameters, then run guards, controller and dependencies."""
        route = self._route
        guards = route.planned_guards(self.resolver.overrides)
        signatures = [call.signature for call in self._calls()]
        made = [] if route.controller is None else [route.construction(route.controller)]
        made += [room.signature for room in route.planned_rooms() if room.signature is not None]
        every = [*signatures, *made, *(signature for guard in guards for signature in guard.signatures)]
        parameters = self.resolver.convert(*every)
        if guards or made or any(each.key == CONTEXT_KEY for signature in every for each in signature.flat()):
            await self._check_guards(guards, self._make_guard_context(parameters))
        for room in route.planned_rooms():
            for joined in await room.find(self.resolver, self._websocket.context.request):
                await self.stays.expect(joined)
        last = last_call(route)
        self._resolved = {}
        for signature in signatures:
            if last is not None and signature is last.signature:
                self._resolved[signature] = await resolve_last(self.resolver, signature)
            else:
                self._resolved[signature] = await self.resolver.resolve(signature)

    def _make_guard_context(self, parameters: Mapping[str, Any]) -> GuardContext:
        context = self.resolver.guard_context = GuardContext(
            request=self._websocket.context.request,
            websocket=self._websocket,
            route=self._route,
            parameters=parameters,
            app=self._services.app,
        )
        return context

    async def _check_guards(self, guards: Iterable[PlannedGuard], context: GuardContext) -> None:
        """Call the guards, then make the controller."""
        await check_guards(guards, context, self.resolver)
        if (controller := self._route.controller) is not None:
            construction = self._route.construction(controller)
            self._controller = await make_controller(controller, construction, context, self.resolver)

    def _calls(self) -> list[PlannedCall]:
        """Return the calls that the route may make."""
        route, target = self._route, self._route.target
        if not isinstance(target, Listener):
            return [route.view()]
        calls = (route.connect(target), route.receive(target), last_call(route))
        return [call for call in calls if call is not None]

    # --- the function --------------------------------------------------------------------------------------------

    def run(self) -> Awaitable[object]:
        """Call the route's function, or its listener's callbacks until the connection ends; await the result."""
        # Not awaited here: a coroutine of its own would be in each idle connection.
        if isinstance(self._route.target, Listener):
            return self._listen(self._route.target)
        return self._view_in_rooms() if self._stays is not None else self._view()

    def _view(self) -> Awaitable[object]:
        view = self._route.view()
        args, kwargs = cast("Arguments", self._take_resolved(view.signature)).fill()
        value = self._bound(view)(*args, **kwargs)
        return value if inspect.isawaitable(value) else _ready(value)

    async def _view_in_rooms(self) -> object:
        await self.stays.join_expected()
        return await self._view()

    async def _listen(self, target: Listener) -> None:
        """Call the callbacks of the route's listener, until the connection ends."""
        websocket = self._websocket
        connect, disconnect = self._route.connect(target), self._route.disconnect(target)
        if disconnect is not None:
            websocket.context.disconnect_callbacks += (await self._disconnect_callback(disconnect),)
        if websocket.accepted and self._stays is not None:
            await self._stays.join_expected()
        if connect is not None:
            await self._connect(connect, target.options)
        if not websocket.accepted:
            await websocket.accept()
            await self.stays.join_expected()
        run = run_inline if target.options.inline else run_listener
        await run(websocket, await self._callbacks(self._route.receive(target), target.options))

    @property
    def app(self) -> Any:
        """The application of the route."""
        return self._services.app

    # --- users ---------------------------------------------------------------------------------------------------

    def known_revocations(self) -> int:
        """Return the number of revocations that have arrived so far."""
        return self._services.connections.revocations.count

    def register(self, credentials: Credentials, since: int | None) -> tuple[int, str] | None:
        """Implement `websocket.context.Invocation`."""
        if self._known_before is None:
            return None
        revocations = self._services.connections.revocations
        before = self._known_before if since is None else since
        if since is None and self._websocket.accepted:
            before = max(before, revocations.forgotten)  # a handler says when it renews, not when it has checked
        revoked = revocations.add(self._websocket.context, credentials, before)
        return None if revoked is None else (revoked.code, revoked.reason)

    def _unregister(self) -> None:
        self._known_before = None
        self._services.connections.revocations.discard(self._websocket.context)

    @property
    def target(self) -> Target:
        """The function or listener of the route."""
        return self._route.target

    @asynccontextmanager
    async def bind(self, call: PlannedCall, options: ListenerOptions) -> AsyncGenerator[BoundListener, None]:
        """Return the callbacks for one message, with all other arguments resolved."""
        async with self.resolver.nested() as resolver:
            yield await self._callbacks(call, options, resolver)

    # --- rooms ---------------------------------------------------------------------------------------------------

    async def join(self, room: Joined, since: str | None, info: Mapping[str, Any]) -> Room:
        """Implement `WebSocket.join`."""
        return (await self.stays.join(room, since, info))[0]

    async def leave(self, room: Room | str) -> None:
        """Implement `WebSocket.leave`."""
        if self._stays is not None:
            await self._stays.leave(room)

    @property
    def resolver(self) -> Resolver:
        """Resolves arguments for the connection; made when there is something to resolve."""
        if self._resolver is None:
            self._resolver = Resolver(
                self._websocket.context.request,
                self._websocket,
                self._services.app,
                self._services.limiters,
                patient=self._route.options.when_peer_leaves == "finish",
                overrides=self._services.find_overrides(),
            )
        return self._resolver

    def was_admitted(self, room: Room) -> bool:
        """Return True if the room's guards were asked already, before the handshake's answer."""
        return self._stays is not None and self._stays.is_expected(room)

    @property
    def stays(self) -> Stays:
        """The rooms that the connection is in until its handler has ended."""
        if self._stays is None:
            self._stays = Stays(self._websocket, self._services.rooms)
        return self._stays

    # --- callbacks -----------------------------------------------------------------------------------------------

    async def listen(
        self,
        on_receive: Callable[..., Any],
        on_connect: Callable[..., Any] | None,
        on_disconnect: Callable[..., Any] | None,
        **options: Any,
    ) -> None:
        """Implement `WebSocket.accept_callback`."""
        websocket, names = self._websocket, self._route.pattern.types
        if self.resolver.guard_context is None:
            self._make_guard_context(self.resolver.convert(*(call.signature for call in self._calls())))
        treatment = ListenerOptions(**options)
        signature = partial(PlannedCall.of, path_names=names, method=False, where="accept_callback()")
        receive = signature(on_receive, takes_body=True)
        disconnect = None if on_disconnect is None else signature(on_disconnect, takes_code=True)
        connect = None if on_connect is None else signature(on_connect)
        if not websocket.accepted:
            await websocket.accept()
        async with self.resolver.nested() as resolver:  # it may stand in scopes of the view's
            if disconnect is not None:
                websocket.context.disconnect_callbacks += (await self._disconnect_callback(disconnect, resolver),)
            if connect is not None:
                await self._connect(connect, treatment, resolver)
            await run_listener(websocket, await self._callbacks(receive, treatment, resolver))

    async def _connect(self, connect: PlannedCall, options: ListenerOptions, resolver: Resolver | None = None) -> None:
        """Call back when the client has connected."""
        try:
            await self._run(connect, resolver)
        except Exception as error:
            await refuse_connection(error, self._websocket, self._services, options.encoding)

    async def _callbacks(
        self, receive: PlannedCall, options: ListenerOptions, resolver: Resolver | None = None
    ) -> BoundListener:
        """Return the callbacks for messages, with all other arguments resolved."""
        arguments = await self._arguments(receive, resolver)
        body, services = receive.body, self._services
        call = arguments.bound(self._bound(receive), None if body is None else body.name)
        validator = None if body is None else body.validator
        label, output = receive.signature.label, receive.output
        return BoundListener(
            call, validator, options, label, services.failures, services.limiters, output, services.settings.json
        )

    async def _disconnect_callback(
        self, disconnect: PlannedCall, resolver: Resolver | None = None
    ) -> DisconnectCallback:
        """Return the callbacks for the end of the connection."""
        signature = disconnect.signature
        resolved = self._take_resolved(signature) or await resolve_last(resolver or self.resolver, signature)
        return last_callback(self._bound(disconnect, last=True), disconnect, resolved)

    # --- calling -------------------------------------------------------------------------------------------------

    async def _run(self, call: PlannedCall, resolver: Resolver | None = None) -> None:
        args, kwargs = (await self._arguments(call, resolver)).fill()
        value = self._bound(call)(*args, **kwargs)
        del args, kwargs  # it may run for long
        if inspect.isawaitable(value):
            await value

    def _take_resolved(self, signature: Signature) -> Arguments | Resolver | None:
        if self._resolved is None:
            return None
        resolved = self._resolved.pop(signature, None)
        if not self._resolved:
            self._resolved = None  # it would be in each idle connection
        return resolved

    async def _arguments(self, call: PlannedCall, resolver: Resolver | None) -> Arguments:
        """Return the arguments resolved before the answer, or resolve them now.

        They are resolved now for `accept_callback`.
        """
        resolved = self._take_resolved(call.signature)
        if isinstance(resolved, Arguments):
            return resolved
        return await (resolver or self.resolver).resolve(call.signature)

    def _bound(self, call: PlannedCall, *, last: bool = False) -> Callable[..., Any]:
        """Return a function bound to controller and, if it blocks, thread.

        Args:
            call: of the function.
            last: whether it is part of the clean-up.
        """
        function = MethodType(call.function, self._controller) if call.method else call.function
        if not call.blocking:
            return function
        return in_thread(function, self._websocket, self._services.limiters, last=last, brief=call.brief)


async def _ready(value: object) -> object:
    return value

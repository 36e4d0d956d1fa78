"""Listeners, which are routes with callbacks for messages, connect and disconnect."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from trio_ws.app.errors import RegistrationError

if TYPE_CHECKING:
    from trio_ws.app.listener_options import ListenerOptions

__all__ = ["Listener"]

F = TypeVar("F", bound=Callable[..., Any])


class Listener:
    """The callbacks of one route, made by `@app.listener`.

    Args:
        on_receive: called with each message.
        options: how messages are treated.
    """

    def __init__(self, on_receive: Callable[..., Any], options: ListenerOptions) -> None:
        self.receive_callback = on_receive
        self.connect_callback: Callable[..., Any] | None = None
        self.disconnect_callback: Callable[..., Any] | None = None
        self.options = options
        self.checks: list[Callable[[], object]] = []
        """Called after a callback was added; an error refuses it."""
        self.__name__: str = getattr(on_receive, "__name__", "listener")
        self.__doc__ = on_receive.__doc__
        self.__wrapped__ = on_receive

    def on_connect(self, function: F) -> F:
        """Call `function` when a client has connected.

        It may take the connection, and route parameters by name.

        Raises:
            RegistrationError: there is one already, or it has a parameter without a source.
        """
        self._check_free(self.connect_callback, "on_connect")
        self.connect_callback = function
        try:
            self._check()
        except BaseException:
            self.connect_callback = None
            raise
        return function

    def on_disconnect(self, function: F) -> F:
        """Call `function` exactly once when a client has disconnected.

        It may take the connection, `code`, and route parameters by name.

        Raises:
            RegistrationError: there is one already, or it has a parameter without a source.
        """
        self._check_free(self.disconnect_callback, "on_disconnect")
        self.disconnect_callback = function
        try:
            self._check()
        except BaseException:
            self.disconnect_callback = None
            raise
        return function

    @overload
    def __get__(self, instance: None, owner: type) -> Listener: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[..., Any]: ...
    def __get__(self, instance: object, owner: type) -> Listener | Callable[..., Any]:
        """Return the callback for messages, bound as in `await self.chat(data)`."""
        return self if instance is None else MethodType(self.receive_callback, instance)

    def _check(self) -> None:
        for check in self.checks:
            check()

    def _check_free(self, callback: Callable[..., Any] | None, name: str) -> None:
        if callback is not None:
            raise RegistrationError(f"listener {self.__name__!r} has an {name} callback already: {callback!r}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as in a test of it."""
        return self.receive_callback(*args, **kwargs)

"""hypercorn with a graceful shutdown of WebSockets.

hypercorn is an extra (`trio-ws[asgi]`), imported on use.
"""

from __future__ import annotations

import atexit
import copy
import math
import signal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.asgi.application import ASGIApplication
from trio_ws.codes import CloseCode, check_close
from trio_ws.runtime.standard_streams import discard_unwritten_errors
from trio_ws.server.signals import serve_until_signalled
from trio_ws.websocket.close_code import leaves

if TYPE_CHECKING:
    from hypercorn.config import Config

    from trio_ws.server.context import HasResponder, Responder

__all__ = ["run", "serve"]

_SCHEMES: Final = {"http": "ws", "https": "wss"}


async def serve(
    app: HasResponder | ASGIApplication | Responder,
    config: Config | None = None,
    *,
    code: int = CloseCode.SERVICE_RESTART,
    task_status: trio.TaskStatus[ASGIApplication] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an application under hypercorn until cancelled, or until its `shutdown` is called.

    `application = await nursery.start(trio_ws.asgi.serve, app, config)` returns once hypercorn accepts connections.
    At the end all clients receive a close frame, handlers have `Timeouts.shutdown_grace`, and then hypercorn ends.

    Args:
        app: an `App`, or an `ASGIApplication` around one.
        config: hypercorn's, with `bind`, `certfile`, ...; its workers and its reloader have no effect here. If its
            `websocket_ping_interval` is not set, it becomes our `ping_interval`.
        code: the close code for all clients when cancelled.
        task_status: for `nursery.start`.

    Raises:
        OSError: an address cannot be bound, or a certificate cannot be read.
        ImportError: hypercorn is not installed.
        ExceptionGroup: the startup of the application failed, or hypercorn failed.
        ValueError: the code is not allowed in a close frame.
        trio.Cancelled: after the graceful shutdown.
    """
    try:
        from hypercorn.trio import serve as serve_asgi  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError("hypercorn is not installed: pip install trio-ws[asgi]") from None
    check_close(code, "")
    application = app if isinstance(app, ASGIApplication) else ASGIApplication(app)
    typed_by_event: Any = application  # hypercorn declares a type for each event, ASGI does not
    configured = _configured(config, application)
    hypercorn = partial(serve_asgi, typed_by_event, configured, shutdown_trigger=application.wait_shutdown)
    application.urls = ()
    try:
        async with trio.open_nursery() as outer:
            outer.start_soon(_shut_down_when_cancelled, application, code)
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as inner:
                    binds = await inner.start(hypercorn)
                    application.urls = tuple(map(_url, binds))
                    task_status.started(application)
            outer.cancel_scope.cancel(reason="the server has ended")
    except ExceptionGroup as group:
        raise (group if application.urls else _startup_error(group, configured)) from None


def run(
    app: HasResponder | ASGIApplication, config: Config | None = None, *, code: int = CloseCode.SERVICE_RESTART
) -> None:
    """Serve an application under hypercorn until SIGINT (Ctrl-C) or SIGTERM, in a new Trio run.

    Args:
        app: an `App`, or an `ASGIApplication` around one.
        config: hypercorn's.
        code: the close code for all clients; 1012 makes them reconnect at once.
    """
    close_codes = dict.fromkeys((signal.SIGINT, signal.SIGTERM), CloseCode(code))
    atexit.register(discard_unwritten_errors)
    trio.run(partial(serve_until_signalled, partial(serve, app, config, code=code), close_codes=close_codes))


async def _shut_down_when_cancelled(application: ASGIApplication, code: int) -> None:
    try:
        await trio.sleep_forever()
    finally:
        if not application.draining:
            application.shutdown(code)


def _startup_error(group: ExceptionGroup[Exception], config: Config) -> Exception:
    """Return the only `OSError` of a group, which kept hypercorn from listening, else the group."""
    first, *more = leaves(group)
    if more or not isinstance(first, OSError):
        return group
    first.add_note(f"while hypercorn tried to listen on {', '.join(config.bind)}")
    return first


def _configured(config: Config | None, application: ASGIApplication) -> Config:
    """Return a copy of the configuration with our `ping_interval`, if it has none."""
    from hypercorn.config import Config  # noqa: PLC0415 - an extra

    configured = Config() if config is None else copy.copy(config)
    interval = application.settings.timeouts.ping_interval
    if configured.websocket_ping_interval is None and interval != math.inf:
        configured.websocket_ping_interval = interval
    return configured


def _url(bind: str) -> str:
    scheme, _, rest = bind.partition("://")
    return f"{_SCHEMES.get(scheme, scheme)}://{rest}"

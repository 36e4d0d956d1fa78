"""Runner: hypercorn with its shutdown in our hands, so that every client is told before it ends.

hypercorn is an extra (`trio-ws[asgi]`), imported when it is needed.
"""

from __future__ import annotations

import copy
import math
import signal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.asgi.application import ASGIApplication
from trio_ws.codes import CloseCode, check_close
from trio_ws.server.signals import serve_until_signalled
from trio_ws.websocket.close_code import leaves

if TYPE_CHECKING:
    from hypercorn.config import Config

    from trio_ws.app.dispatcher import HasResponder
    from trio_ws.server.context import Responder

__all__ = ["run", "serve"]

_SCHEMES: Final = {"http": "ws", "https": "wss"}


async def serve(
    app: HasResponder | ASGIApplication | Responder,
    config: Config | None = None,
    *,
    code: int = CloseCode.SERVICE_RESTART,
    task_status: trio.TaskStatus[ASGIApplication] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an application under hypercorn until cancelled, or until the `shutdown` of its server is called.

    `bridge = await nursery.start(trio_ws.asgi.serve, app, config)` returns once it accepts. At the end everyone is
    told, handlers have `Timeouts.shutdown_grace`, and only then hypercorn is ended.

    Args:
        app: an `App`, or a `ASGIApplication` around one.
        config: hypercorn's, with `bind`, `certfile`, ...; its workers and its reloader have no effect here. If its
            `websocket_ping_interval` is not set, it becomes our `ping_interval`.
        code: the close code for everyone when it is cancelled.
        task_status: for `nursery.start`.

    Raises:
        OSError: an address cannot be listened on, or a certificate cannot be read.
        ImportError: hypercorn is not installed.
        ExceptionGroup: the application cannot begin, or hypercorn fails.
        ValueError: the code may not be sent.
        trio.Cancelled: after every client was told.
    """
    try:
        from hypercorn.trio import serve as serve_asgi  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError("hypercorn is not installed: pip install trio-ws[asgi]") from None
    check_close(code, "")
    bridge = app if isinstance(app, ASGIApplication) else ASGIApplication(app)
    application: Any = bridge  # hypercorn declares its events one by one, ASGI does not
    configured = _configured(config, bridge)
    hypercorn = partial(serve_asgi, application, configured, shutdown_trigger=bridge.shut_down)
    bridge.urls = ()
    try:
        async with trio.open_nursery() as outer:
            outer.start_soon(_shut_down_when_cancelled, bridge, code)
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as inner:
                    binds = await inner.start(hypercorn)
                    bridge.urls = tuple(map(_url, binds))
                    task_status.started(bridge)
            outer.cancel_scope.cancel(reason="the server has ended")
    except ExceptionGroup as group:
        raise (group if bridge.urls else _obstacle(group, configured)) from None


def run(
    app: HasResponder | ASGIApplication, config: Config | None = None, *, code: int = CloseCode.SERVICE_RESTART
) -> None:
    """Serve an application under hypercorn in a Trio run of its own until SIGINT (Ctrl-C) or SIGTERM.

    Args:
        app: an `App`, or a `ASGIApplication` around one.
        config: hypercorn's.
        code: the close code for everyone; 1012 lets clients come back at once.
    """
    close_codes = dict.fromkeys((signal.SIGINT, signal.SIGTERM), CloseCode(code))
    trio.run(partial(serve_until_signalled, partial(serve, app, config, code=code), close_codes=close_codes))


async def _shut_down_when_cancelled(bridge: ASGIApplication, code: int) -> None:
    try:
        await trio.sleep_forever()
    finally:
        if not bridge.draining:
            bridge.shutdown(code)


def _obstacle(group: ExceptionGroup[Exception], config: Config) -> Exception:
    """Return what of the system's has kept hypercorn from listening; the group if it was something else."""
    first, *more = leaves(group)
    if more or not isinstance(first, OSError):
        return group
    first.add_note(f"hypercorn was to listen on {', '.join(config.bind)}")
    return first


def _configured(config: Config | None, bridge: ASGIApplication) -> Config:
    """Return a configuration for hypercorn that pings as often as we would."""
    from hypercorn.config import Config  # noqa: PLC0415 - an extra

    configured = Config() if config is None else copy.copy(config)
    interval = bridge.settings.timeouts.ping_interval
    if configured.websocket_ping_interval is None and interval != math.inf:
        configured.websocket_ping_interval = interval
    return configured


def _url(bind: str) -> str:
    scheme, _, rest = bind.partition("://")
    return f"{_SCHEMES.get(scheme, scheme)}://{rest}"

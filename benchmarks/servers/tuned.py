"""trio_ws with a larger inbox and outbox and no keepalive."""

import trio
from ours import echo, member
from place import place

from trio_ws import Limits, Timeouts, serve_websocket


async def main() -> None:
    here = place()
    await serve_websocket(
        member if here.broadcast else echo,
        listeners=[here.sock],
        ssl_context=here.ssl_context,
        compression=here.deflate,
        limits=Limits(inbox_messages=256, outbox_bytes=1024 * 1024),
        timeouts=Timeouts(ping_interval=None),
    )


trio.run(main)

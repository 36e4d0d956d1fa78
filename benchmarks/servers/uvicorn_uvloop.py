"""uvicorn on uvloop with its default WebSocket implementation, and an ASGI application."""

import uvicorn
from asgi import echo, member
from place import BACKLOG, place

here = place()
config = uvicorn.Config(
    member if here.broadcast else echo,
    loop="uvloop",
    http="httptools",
    ws_per_message_deflate=here.deflate,
    ssl_certfile=here.certificate,
    backlog=BACKLOG,
    log_level="warning",
    access_log=False,
)
uvicorn.Server(config).run(sockets=[here.sock])

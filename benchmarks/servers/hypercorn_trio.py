"""hypercorn on Trio with an ASGI application; it accepts every offer of permessage-deflate."""

from functools import partial

import trio
from asgi import echo, member
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.utils import wrap_app
from place import BACKLOG, place

here = place()
config = Config()
config.certfile = config.keyfile = here.certificate
here.sock.listen(BACKLOG)
secure = here.certificate is not None
sockets = Sockets([here.sock] if secure else [], [] if secure else [here.sock], [])
app = wrap_app(member if here.broadcast else echo, config.wsgi_max_body_size, "asgi")
trio.run(partial(worker_serve, app, config, sockets=sockets))

import sys

import trio
from asgi_app import app
from hypercorn.config import Config
from hypercorn.trio import serve

config = Config()
config.bind = [f"127.0.0.1:{sys.argv[1]}"]
config.loglevel = "CRITICAL"
trio.run(serve, app, config)

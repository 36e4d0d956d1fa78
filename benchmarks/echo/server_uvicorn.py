import sys

import uvicorn
from asgi_app import app

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), ws=sys.argv[2], log_level="critical", lifespan="off")

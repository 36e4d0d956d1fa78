"""A test client that serves applications in memory, for async and for plain tests.

Here: `TestClient`, its blocking twin, the network in memory, the recorder of errors, the pytest plugin.
Not here: anything that a server needs in production.
Start with `client`.
"""

from trio_ws.testing.blocking import BlockingTestClient, BlockingTestWebSocket
from trio_ws.testing.client import TestClient
from trio_ws.testing.http import TestResponse
from trio_ws.testing.recorder import LeakedTask
from trio_ws.testing.timeouts import TestTimeout

__all__ = [
    "BlockingTestClient",
    "BlockingTestWebSocket",
    "LeakedTask",
    "TestClient",
    "TestResponse",
    "TestTimeout",
]

"""Tests of applications: a client that serves them in memory, for async tests and for plain ones.

`client` is the test client, `blocking` and `portal` its twin for plain tests, `network` the connections in memory,
`observer` what it sees of the server. The pytest plugin, `trio_ws.testing.plugin`, is loaded by who wants it.
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

"""The echo example: server and client, each by its one command."""

from __future__ import annotations

from .browser import EXAMPLES
from .process import forked, launching, output_of_forked

ECHO = EXAMPLES / "echo"


async def test_the_client_hears_from_the_server_what_it_said() -> None:
    async with forked(launching(ECHO / "app.py"), ECHO) as server:
        url = f"ws://{await server.address()}/echo"
        command = [*launching(ECHO / "client.py"), "--url", url, "one", "\N{EURO SIGN}"]
        lines = (await output_of_forked(command, ECHO)).splitlines()
        assert lines[:2] == ["one", "\N{EURO SIGN}"]
        assert lines[2].startswith("A ping takes ")
        assert await server.interrupt() == 0
    assert "shutting down" in server.output

"""Workers as a user runs them: one port, restarts without a gap, and what becomes of those who are killed."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from tests.workers.fleet import BOUND, Fleet, eventually, guest, guests_of
from trio_ws import ConnectionRejected


async def test_workers_share_port_and_unix_socket_and_close_with_1001(fleet: Fleet) -> None:
    """Workers share a port and a Unix socket and say 1001 together; a record in the log says of which one it is."""
    path = fleet.folder / "s"
    await fleet.start("--workers", "2", "--uds", str(path), "--log-level", "debug")
    async with AsyncExitStack() as stack:
        guests = await guests_of(fleet, stack, 2)
        assert sorted(guests) == [1, 2]
        assert len({each.pid for each in guests.values()} | {fleet.process.pid}) == 3
        for number in guests:
            await fleet.said(rf" worker {number} DEBUG trio_ws: / #\d+ from 127\.0\.0\.1:\d+ is open")
        local = await guests_of(fleet, stack, 2, uds=path)
        fleet.process.send_signal(signal.SIGTERM)
        assert [await each.code() for each in (*guests.values(), *local.values())] == [1001] * 4
    assert await fleet.rest() == 0
    assert fleet.output.count("listening on ws://") == fleet.output.count("listening on ws+unix://") == 1
    assert "\nshutting down: 2 workers\n" in fleet.output
    assert not path.exists()


async def test_sighup_brings_new_code_and_refuses_nobody(fleet: Fleet) -> None:
    """Each worker has a port of its own besides, which its successor takes over."""
    await fleet.start("--workers", "2", "--worker-port", "0")
    alone = {}
    for number in (1, 2):
        said = await fleet.said(rf"listening on (ws://127\.0\.0\.1:\d+) for worker {number} only")
        alone[number] = said[1]
    async with AsyncExitStack() as stack:
        guests = await guests_of(fleet, stack, 2)
        before = [await whose(fleet, url) for url in alone.values()]
        fleet.rewrite('"old"', '"new"')
        comers = Comers(fleet)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(comers.come)
            fleet.process.send_signal(signal.SIGHUP)
            await fleet.said("restarted")
            codes = [await each.code() for each in guests.values()]
            comers.enough = True
        assert codes == [1012, 1012]
        assert comers.seen["old"]
        assert not comers.failures
        after = [await whose(fleet, url) for url in alone.values()]
        assert [number for number, _ in before] == [number for number, _ in after] == [1, 2]
        assert not {pid for _, pid in before} & {pid for _, pid in after}
        for _ in range(10):
            async with guest(fleet) as someone:
                assert someone.version == "new"
                assert someone.pid not in {each.pid for each in guests.values()}
                assert (someone.number, someone.pid) in after
    fleet.process.send_signal(signal.SIGINT)
    assert await fleet.rest() == 0


class Comers:
    """Clients that come all the time, one after another."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.enough = False
        self.seen = {"old": 0, "new": 0}
        self.failures: list[Exception] = []

    async def come(self) -> None:
        while not self.enough:
            try:
                async with guest(self._fleet) as someone:
                    self.seen[someone.version] += 1
            except ConnectionRejected as error:
                if error.status != 503:  # it had connected to a worker that has begun to end since
                    self.failures.append(error)
            except Exception as error:
                self.failures.append(error)
            await trio.sleep(0.02)


async def test_killed_or_hung_worker_is_replaced_without_side_effects(fleet: Fleet) -> None:
    """A worker that is killed or hangs is replaced and others see nothing of it."""
    await fleet.start("--workers", "2", "--worker-timeout", "2")
    async with AsyncExitStack() as stack:
        guests = await guests_of(fleet, stack, 2)
        os.kill(guests[2].pid, signal.SIGKILL)
        assert await guests[2].code() == 1006
        await fleet.said(rf"worker 2 \(pid {guests[2].pid}\) was ended by SIGKILL: restart in ")
        another = await eventually(fleet, lambda each: each.number == 2)
        assert another.pid != guests[2].pid
        assert await guests[1].serves()
        await guests[1].ws.send("hang")
        await fleet.said(rf"worker 1 \(pid {guests[1].pid}\) is killed: it has not reported for 2 s")
        await fleet.said("in sleep_for_ever")
        assert await guests[1].code() == 1006
        async with guest(fleet) as someone:
            assert await someone.serves()


GIVEN = """
import socket
from trio_ws.cli.main import main

listener = socket.create_server(("127.0.0.1", 0))
print("given", listener.getsockname()[1])
main(["run", "shop:app", "--workers", "2", "--fd", str(listener.fileno())])
"""


async def test_workers_end_gracefully_when_their_supervisor_is_killed(fleet: Fleet) -> None:
    """Their socket comes from who starts it."""
    fleet.folder.joinpath("given.py").write_text(GIVEN)
    await fleet.run(["given.py"])
    async with AsyncExitStack() as stack:
        port = (await fleet.said(r"given (\d+)"))[1]
        fleet.url = (await fleet.said(r"listening on (ws:\S+)"))[1]
        assert fleet.url == f"ws://127.0.0.1:{port}"
        guests = await guests_of(fleet, stack, 2)
        assert await guests[1].serves()
        fleet.process.kill()
        assert [await each.code() for each in guests.values()] == [1001, 1001]
        # All who could write have ended: the workers, too.
        assert await fleet.rest() == -signal.SIGKILL
    assert fleet.output.count("the supervisor has ended, shutting down") == 2


async def test_an_application_that_cannot_be_loaded_is_the_end_at_once(fleet: Fleet) -> None:
    fleet.rewrite("app = App()", "application = App()")
    await fleet.open("--workers", "2", "--port", "0")
    assert await fleet.rest() == 1
    assert "NameError" in fleet.output
    assert "ended with status 1 before it was ready: nothing is served." in fleet.output
    assert "listening on" not in fleet.output


async def test_workers_without_standard_error_serve_and_are_replaced(fleet: Fleet) -> None:
    """They serve with no standard error and a killed one is replaced all the same."""
    path = fleet.folder / "s"
    await fleet.open("--workers", "1", "--uds", str(path), through=["sh", "-c", 'exec "$@" 2>&-', "sh"])
    fleet.url = "ws://localhost"
    await listens(path)
    async with AsyncExitStack() as stack:
        guests = await guests_of(fleet, stack, 1, uds=path)
        assert await guests[1].serves()
        os.kill(guests[1].pid, signal.SIGKILL)
        assert await guests[1].code() == 1006
        assert (await eventually(fleet, lambda each: True, uds=path)).pid != guests[1].pid
    fleet.process.send_signal(signal.SIGTERM)
    assert await fleet.rest() == 0


async def whose(fleet: Fleet, url: str) -> tuple[int, int]:
    """Return the number and the process of a worker that is reached there; all who ask there reach it."""
    shared, fleet.url = fleet.url, url
    found = set()
    for _ in range(5):
        async with guest(fleet) as someone:
            found.add((someone.number, someone.pid))
    fleet.url = shared
    return found.pop() if len(found) == 1 else (0, 0)


async def listens(path: Path) -> None:
    """Wait until somebody listens on a Unix socket."""
    with trio.fail_after(BOUND):
        while True:
            try:
                async with await trio.open_unix_socket(path):
                    return
            except OSError:
                await trio.sleep(0.02)

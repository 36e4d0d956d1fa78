"""The kinds of Redis that a URL can name: one with TLS, one behind Sentinels, a cluster; and what a URL may say."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
import trustme
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import BackplaneRefused, BackplaneUnavailable
from trio_ws.cli.main import main
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import MemoryBackplane, Rooms
from trio_ws.rooms.redis import RedisBackplane, connection
from trio_ws.rooms.redis.client import ClientFactory
from trio_ws.rooms.redis.scripts import Keys

from .conformance import NOBODY, Ear, RedisBackplaneContract

pytestmark = [needs_redis, forgives_coredis, collects_coredis]


def free_ports(how_many: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(how_many)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


async def is_heard(url: str, **options: object) -> None:
    backplane, ear = RedisBackplane(url, **options), Ear()
    async with backplane.running(), backplane.subscribe("room", ear, history=0):
        await backplane.publish("room", PreparedMessage("said"), NOBODY)
        await ear.hears(1)


# --- a cluster ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two nodes, each with half of the slots."""
    first, second, *buses = free_ports(4)
    with ExitStack() as stack:
        nodes = []
        for port, bus in zip((first, second), buses, strict=True):
            options = ("--port", str(port), "--cluster-port", str(bus), "--bind", "127.0.0.1")
            announced = ("--cluster-announce-ip", "127.0.0.1", "--cluster-enabled", "yes")
            nodes.append(stack.enter_context(redis_server(*options, *announced)))
        nodes[0].ask("CLUSTER ADDSLOTSRANGE 0 8191")
        nodes[1].ask("CLUSTER ADDSLOTSRANGE 8192 16383")
        nodes[0].ask(f"CLUSTER MEET 127.0.0.1 {second} {buses[1]}")
        deadline = time.monotonic() + 30
        while not all(
            "cluster_state:ok" in info and "cluster_known_nodes:2" in info and "cluster_slots_ok:16384" in info
            for info in (node.ask("CLUSTER INFO") for node in nodes)
        ):
            assert time.monotonic() < deadline, "the cluster does not come together"
            time.sleep(0.05)
        yield f"redis+cluster://127.0.0.1:{first},127.0.0.1:{second}"


class TestCluster(RedisBackplaneContract):
    @pytest.fixture
    def url(self, cluster: str) -> str:
        return cluster

    async def test_rooms_are_on_both_nodes(self) -> None:
        async with self.open() as (here, there):
            rooms, ear = [self.name(str(number)) for number in range(20)], Ear()
            async with trio.open_nursery() as nursery:

                async def listen(room: str, task_status: trio.TaskStatus[None]) -> None:
                    async with there.subscribe(room, ear, history=0):
                        task_status.started()
                        await trio.sleep_forever()

                for room in rooms:
                    await nursery.start(listen, room)
                async with trio.open_nursery() as publishers:
                    for room in rooms:
                        publishers.start_soon(here.publish, room, PreparedMessage(room), NOBODY)
                await ear.hears(20)
                assert sorted(map(str, ear.data)) == sorted(rooms)
                nursery.cancel_scope.cancel()


# --- behind Sentinels ---------------------------------------------------------------------------------------------


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[tuple[str, RedisServer]]:
    port, watch = free_ports(2)
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"sentinel monitor mine 127.0.0.1 {port} 1\n")
    with redis_server("--port", str(port), "--bind", "127.0.0.1") as server:
        options = ("--sentinel", "--port", str(watch), "--bind", "127.0.0.1")
        with redis_server(*options, configuration=configuration):
            yield f"redis+sentinel://127.0.0.1:1,127.0.0.1:{watch}", server


async def test_the_primary_is_found_through_a_sentinel(sentinel) -> None:
    url, _ = sentinel
    await is_heard(f"{url}/mine")
    await is_heard(f"{url}/mine/3")
    with pytest.raises(BackplaneUnavailable, match="No primary found"):
        await is_heard(f"{url}/nobodys")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[str, RedisServer, RedisServer]]:
    """A primary, a replica that has all of it, and a Sentinel that takes the one for the other when it is away."""
    port, second, watch = free_ports(3)
    configuration = tmp_path / "sentinel.conf"
    lines = f"monitor mine 127.0.0.1 {port} 1", "down-after-milliseconds mine 300", "failover-timeout mine 5000"
    configuration.write_text("".join(f"sentinel {line}\n" for line in lines))
    quick = ("--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
    with (
        redis_server("--port", str(port), *quick) as primary,
        redis_server("--port", str(second), *quick, "--replicaof", f"127.0.0.1 {port}") as replica,
    ):
        until("the replica is up to date", lambda: "master_link_status:up" in replica.ask("INFO replication"))
        options = ("--sentinel", "--port", str(watch), "--bind", "127.0.0.1")
        with redis_server(*options, configuration=configuration) as sentinel:
            until("the Sentinel knows the replica", lambda: "slaves=1" in sentinel.ask("INFO sentinel"))
            yield f"redis+sentinel://127.0.0.1:{watch}/mine", primary, replica


def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"it never comes about that {what}"
        time.sleep(0.02)


async def test_a_failover_is_survived_with_every_message_heard_once(watched, monkeypatch) -> None:
    """What is published while there is no primary is heard by the publisher's own members at once."""
    monkeypatch.setattr(connection, "_LONGEST_PAUSE", 0.1)
    url, primary, replica = watched
    backplanes = [RedisBackplane(url, publish_timeout=90, command_timeout=2) for _ in range(2)]
    ears, lost = [Ear(), Ear()], []

    async def say(number: int) -> None:
        await backplanes[number % 2].publish("room", PreparedMessage(str(number)), NOBODY)

    with trio.fail_after(90):
        async with AsyncExitStack() as stack:
            for backplane, ear in zip(backplanes, ears, strict=True):
                await stack.enter_async_context(backplane.running())
                await stack.enter_async_context(backplane.subscribe("room", ear, history=0, gap=lost.append))
            for number in range(10):
                await say(number)
            until("the replica has it", lambda: ":10" in replica.ask("XLEN trio_ws:{=room}:messages"))
            for ear in ears:
                await ear.hears(10)
            primary.kill()
            async with trio.open_nursery() as nursery:
                for number in range(10, 20):
                    nursery.start_soon(say, number)
                for ear in ears:
                    await ear.hears(15)
            assert "role:master" in replica.ask("INFO replication")
            for number in range(20, 30):
                await say(number)
            for ear in ears:
                await ear.hears(30)
    for ear in ears:
        assert sorted(ear.data, key=lambda text: int(str(text))) == [str(number) for number in range(30)]
        assert ear.data[:10] == [str(number) for number in range(10)]
    assert lost == []


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    with (tmp_path / "certificate.pem").open("wb") as file:
        file.writelines(blob.bytes() for blob in certificate.cert_chain_pems)
    (port,) = free_ports(1)
    files = ("--tls-cert-file", f"{tmp_path}/certificate.pem", "--tls-key-file", f"{tmp_path}/key.pem")
    more = ("--tls-ca-cert-file", f"{tmp_path}/authority.pem", "--tls-auth-clients", "no")
    with redis_server("--tls-port", str(port), *files, *more):
        yield f"rediss://localhost:{port}/2", tmp_path / "authority.pem"


async def test_tls_trusts_the_authorities_that_it_is_given(tls) -> None:
    url, authority = tls
    await is_heard(url, ssl_context=ssl.create_default_context(cafile=str(authority)))
    await is_heard(f"{url}?ssl_ca_certs={quote(str(authority))}")


async def test_tls_refuses_a_stranger_and_another_name(tls) -> None:
    url, authority = tls
    with pytest.raises(BackplaneUnavailable, match="no Redis answers at rediss://localhost"):
        await is_heard(url)
    for given in ({"ssl_context": ssl.create_default_context(cafile=str(authority))}, {}):
        other = url.replace("localhost", "127.0.0.1")
        with pytest.raises(BackplaneUnavailable):
            await is_heard(other if given else f"{other}?ssl_ca_certs={quote(str(authority))}", **given)


# --- URLs and clients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://localhost", "begins with redis://"),
        ("redis+raft://localhost", "begins with redis://"),
        ("unix+cluster:///path", "begins with redis://"),
        ("localhost:6379", "begins with redis://"),
        ("redis:///1", "names no host"),
        ("redis+sentinel://localhost", "names the service"),
        ("redis://localhost:port", "port"),
    ],
)
def test_a_url_that_makes_no_sense_is_an_error_at_once(url, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        RedisBackplane(url)


def test_a_url_with_several_hosts_is_read(monkeypatch) -> None:
    source = ClientFactory.create("redis+cluster://ann:p%40w@[::1]:7000,two:7001,three", 1, None)
    assert source.address == "redis+cluster://[::1]:7000,two:7001,three"


def test_options_that_make_no_sense_are_an_error_at_once() -> None:
    for options in ({"stream_length": 0}, {"publish_timeout": 0}, {"prefix": "{a}"}):
        with pytest.raises(ValueError, match=r"stream_length|publish_timeout|braces"):
            RedisBackplane("redis://localhost", **options)


def test_names_of_rooms_stay_apart_and_never_leave_the_hash_tag() -> None:
    keys = Keys("p")
    names = [keys.stream(room) for room in ("", "a", "a}b", "a%7Db", "{a")]
    assert len(set(names)) == len(names)
    assert all(name.count("}") == 1 for name in names)


def test_without_coredis_the_error_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "coredis", None)
    with pytest.raises(ImportError, match=r"pip install 'trio-ws\[redis\]'"):
        Rooms("redis://localhost")


def test_rooms_take_a_url_a_backplane_or_nothing() -> None:
    assert isinstance(Rooms().backplane, MemoryBackplane)
    assert isinstance(Rooms("redis://localhost").backplane, RedisBackplane)
    given = MemoryBackplane()
    assert Rooms(given).backplane is given


async def test_a_function_may_make_the_clients() -> None:
    import coredis

    with redis_server() as server:
        await is_heard(lambda: coredis.Redis(unix_socket_path=str(server.socket)))
        with pytest.raises(ValueError, match="decode_responses=False"):
            await is_heard(lambda: coredis.Redis(unix_socket_path=str(server.socket), decode_responses=True))
        with pytest.raises(BackplaneRefused, match="the given client"):
            server.ask("CONFIG SET requirepass sesame")
            await is_heard(lambda: coredis.Redis(unix_socket_path=str(server.socket)))


def test_missing_backplane_is_one_line_of_the_run_command(tmp_path, monkeypatch, capsys) -> None:
    """A backplane that is not there is one line of the command run."""
    (tmp_path / "far.py").write_text(f"from trio_ws import App\napp = App(backplane='unix://{tmp_path}/none')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as ended:
        main(["run", "far:app", "--port", "0"])
    sys.modules.pop("far")
    assert ended.value.code == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"trio-ws: no Redis answers at unix://{tmp_path}/none: ")

"""The subcommands that speak to rooms, in the process of the test."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import connect_backplane
from trio_ws.cli.main import main

pytestmark = [forgives_coredis, collects_coredis]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def run(redis: RedisServer, request: pytest.FixtureRequest, capfd: Any) -> Callable[..., list[str]]:
    """Run a command with keys of the test's own; return the lines that it prints."""
    prefix = f"p{abs(hash(request.node.name))}"

    def run(command: str, *arguments: str, status: int = 0) -> list[str]:
        assert main([command, redis.url, *arguments, "--prefix", prefix]) == status
        lines: list[str] = capfd.readouterr().out.splitlines()
        return lines

    return run


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Let the standard input be these bytes."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@needs_redis
def test_published_messages_are_printed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = run("publish", "r", "grüße")
    assert run("publish", "r", "again", "--key", "k") == run("publish", "r", "again", "--key", "k")
    run("publish", "r", " [1, 2]", "--json")
    run("publish", "r", "bytes", "--binary")
    given(monkeypatch, b"two\nlines\r\n")
    run("publish", "r", "-")
    given(monkeypatch, b"\xff\n")
    (last,) = run("publish", "r", "-", "--binary")
    shown = ["grüße", "again", "[1, 2]", "b'bytes'", "two", "lines", r"b'\xff\n'"]
    assert run("watch", "r", "--history", "6", "--count", "6") == shown
    assert run("watch", "r", "--since", first, "--count", "5") == shown[1:]
    lines = [json.loads(line) for line in run("watch", "r", "--json", "--history", "2", "--count", "2")]
    assert [{**line, "time": ""} for line in lines] == [
        {"id": lines[0]["id"], "time": "", "text": "two\nlines"},
        {"id": last, "time": "", "binary": "/wo="},
    ]
    assert lines[1]["time"].endswith("+00:00")


@needs_redis
@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        (("r", "{", "--json"), b"", "the message is no JSON"),
        (("r", "NaN", "--json"), b"", "the message is no JSON"),
        (("r", "-"), b"\xff", "the message is not UTF-8"),
        (("r", "-"), b"x" * 2_000_000, "1048579 bytes"),
        (("x" * 9000, "text"), b"", "the name of a room has 9000 bytes"),
        (("r", "text", "--key", ""), b"", "the key of a message is empty"),
        (("r", "text", "--prefix", "{"), b"", "has no braces"),
    ],
)
def test_a_message_that_cannot_be_is_one_line(
    arguments: Any, data: bytes, message: str, *, redis: RedisServer, monkeypatch: Any, capsys: Any
) -> None:
    given(monkeypatch, data)
    with pytest.raises(SystemExit) as end:
        main(["publish", redis.url, *arguments])
    written = capsys.readouterr().err
    assert (end.value.code, written.count("\n"), message in written) == (1, 1, True), written


@pytest.mark.parametrize("command", [("publish", "r", "text"), ("watch", "r")])
@pytest.mark.parametrize(
    ("url", "message"), [("unix:///nowhere/at/all", "no Redis answers at unix:"), ("http://x", "a URL of Redis begins")]
)
def test_a_redis_that_is_away_is_one_line(command: Any, url: str, message: str, capfd: Any) -> None:
    name, *arguments = command
    with pytest.raises(SystemExit) as end:
        main([name, url, *arguments])
    written = capfd.readouterr().err
    assert (end.value.code, written.count("\n"), message in written) == (1, 1, True), written


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", "redis://x", "r"),
        ("publish", "redis://x", "r", "m", "--json", "--binary"),
        ("watch", "redis://x", "r", "--since", "1-0", "--history", "1"),
        ("watch", "redis://x", "r", "--count", "0"),
        ("watch", "redis://x", "r", "--timeout", "0"),
    ],
)
def test_invalid_arguments_have_a_status_of_their_own(arguments: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2


@needs_redis
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_watching(number: int, redis: RedisServer, monkeypatch: Any, capfd: Any) -> None:
    """With what has come until then, and without a traceback."""
    reader, writer = os.pipe()

    def interrupt() -> None:
        with connect_backplane(redis.url) as rooms:
            rooms.publish("signalled", "said")
            os.read(reader, 100)
        os.kill(os.getpid(), number)

    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        thread = threading.Thread(target=interrupt)
        with connect_backplane(redis.url) as rooms:
            rooms.publish("signalled", "first")
        thread.start()
        assert main(["watch", redis.url, "signalled", "--history", "1"]) == 0
        thread.join()
    os.close(reader)
    assert capfd.readouterr().err == ""


@needs_redis
def test_a_reader_that_has_gone_ends_watching(redis: RedisServer, monkeypatch: Any, capfd: Any) -> None:
    with connect_backplane(redis.url) as rooms:
        rooms.publish("gone", "said")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert main(["watch", redis.url, "gone", "--history", "1"]) == 0
    assert capfd.readouterr().err == ""


@needs_redis
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
@pytest.mark.parametrize("closed", [False, True])
def test_an_output_that_takes_nothing_is_one_line(
    closed: bool, redis: RedisServer, monkeypatch: Any, capfd: Any
) -> None:
    """As of cron, or on a full disk. A message is published then, and the status is not that of a failure."""
    room, command = f"mute{closed}", ["--timeout", "30"]
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", None if closed else full)
        assert main(["publish", redis.url, room, "said", *command]) == 0
        with pytest.raises(SystemExit) as end:
            main(["watch", redis.url, room, "--history", "1", "--count", "1", *command])
    with connect_backplane(redis.url) as rooms:
        (message,) = rooms.history(room)
    lines = capfd.readouterr().err.splitlines()
    assert (end.value.code, len(lines)) == (1, 1 if closed else 2), lines
    assert (message.message, closed or message.id in lines[0]) == ("said", True)


def test_an_input_that_is_closed_is_one_line(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as end:
        main(["publish", "redis://x", "r", "-"])
    assert (end.value.code, "no standard input" in capsys.readouterr().err) == (1, True)

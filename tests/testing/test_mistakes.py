"""Arguments of the test kit that cannot work: each error says what to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_ws import App, Depends, RegistrationError, WebSocket
from trio_ws.testing import (
    ChaosNetwork,
    ChaosScript,
    ChaosStream,
    Deliver,
    HalfClose,
    Opcode,
    Reset,
    Throttle,
    cancel_everywhere,
    frame_bytes,
    virtual_time,
)

app = App()


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def service() -> int:
    return 1


def any_value(value: object) -> Any:
    """Return the value without its type, which is the wrong one."""
    return value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: app.test_client(timeout=any_value("5")), "timeout takes a number of seconds, or math.inf"),
        (lambda: app.test_client(timeout=any_value(None)), "timeout takes a number of seconds, or math.inf"),
        (lambda: app.test_client(timeout=True), "timeout takes a number of seconds, or math.inf"),
        (lambda: app.test_client(network=any_value("chaos")), "network takes a network, such as ChaosNetwork(seed=7)"),
        (lambda: app.test_client(network=any_value(ChaosNetwork)), "network takes a network, such as ChaosNetwork("),
        (lambda: app.test_client(overrides=any_value([service])), "overrides takes a mapping such as {dependency: "),
        (lambda: app.test_client(log_level=any_value("INFO")), "log_level takes a level such as logging.INFO, or None"),
        (lambda: app.test_client(log_level=True), "log_level takes a level such as logging.INFO, or None"),
        (lambda: app.test_client().websocket_connect(any_value(b"/echo")), "a path is text such as '/chat', not b'"),
        (
            lambda: ChaosNetwork(script=any_value([Deliver(20)])),
            "write ChaosScript(down=[Deliver(size=20, after=0.0)])",
        ),
        (
            lambda: ChaosNetwork(script=any_value(["reset"])),
            "the script of a connection is a ChaosScript(...), not 're",
        ),
        (lambda: ChaosNetwork(script=any_value(ChaosScript())), "write script=[ChaosScript(...)]"),
        (lambda: ChaosNetwork(script=any_value(7)), "script takes a list of scripts, a ChaosScript(...) for each"),
        (lambda: ChaosScript(down=any_value(Deliver(20))), "down takes a list of steps, such as Deliver(20)"),
        (
            lambda: ChaosScript(up=any_value(["reset"])),
            "up takes Deliver(...), Throttle(...), HalfClose(...) and Reset",
        ),
        (lambda: ChaosScript(up=any_value([Reset])), "up takes Deliver(...), Throttle(...), HalfClose(...) and Reset"),
        (lambda: Deliver(any_value("1")), "size takes a number, not '1'"),
        (lambda: Deliver(after=any_value(None)), "after takes a number, not None"),
        (lambda: Throttle(any_value(None), 1.0), "size takes a number, not None"),
        (lambda: Throttle(1, any_value("fast")), "rate takes a number, not 'fast'"),
        (lambda: HalfClose(any_value("1")), "after takes a number, not '1'"),
        (lambda: Reset(True), "after takes a number, not True"),
        (lambda: ChaosStream(any_value("x"), seed=1), "a ChaosStream is around a trio.abc.Stream, not 'x'"),
        (lambda: frame_bytes(any_value("text")), "an opcode is a number or a member of Opcode, such as Opcode.TEXT"),
        (
            lambda: frame_bytes(Opcode.TEXT, any_value({"a": 1})),
            "the payload of a frame is text or bytes, not {'a': 1}",
        ),
        (lambda: frame_bytes(Opcode.TEXT, any_value(5)), "the payload of a frame is text or bytes, not 5"),
    ],
)
def test_a_value_of_another_type_names_the_right_one(make: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        make()


def test_a_stream_s_script_is_no_list() -> None:
    near, _ = trio.testing.memory_stream_pair()
    with pytest.raises(TypeError, match=r"the script of a connection is a ChaosScript\(\.\.\.\), not \[\]"):
        ChaosStream(near, script=any_value([]))


def test_a_script_s_steps_may_come_from_a_generator() -> None:
    assert ChaosScript(up=any_value(Deliver(size) for size in (1, 2))).up == (Deliver(1), Deliver(2))


def test_neither_seed_nor_script_shows_both() -> None:
    with pytest.raises(ValueError, match="either a seed or a script: write seed=7, or script="):
        ChaosNetwork()


@pytest.mark.parametrize("path", ["echo", "localhost/echo", ""])
def test_a_path_without_a_slash_is_shown_with_one(path: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"a path begins with a slash, a URL with ws://: write '/{path}'")):
        app.test_client().websocket_connect(path)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "service",
            "name the function itself, not its name 'service'; a value of the request is Query(alias='service')",
        ),
        (Depends(service), "name the function itself in place of Depends(...): "),
        (7, "7 is no dependency, guard, Query(alias=...)"),
    ],
)
@virtual_time
async def test_an_override_of_another_kind_says_what_is_one(key: object, message: str) -> None:
    with pytest.raises(RegistrationError, match=re.escape(message)):
        async with app.test_client(overrides={key: 1}):
            pass


def plain_function() -> None:
    """Return, as no scenario does."""


async def needs_two(point: object, other: object) -> None:
    """Take more than a scenario does."""


async def takes_nothing() -> None:
    """End."""


@pytest.mark.parametrize(
    ("scenario", "options", "message"),
    [
        (plain_function, {}, "a scenario is an async function; this one returned None"),
        ("scenario", {}, "a scenario is an async function, not 'scenario'"),
        (needs_two, {}, "a scenario takes the point, or nothing: write async def scenario(point)"),
        (takes_nothing, {"check": plain_function}, "check is called with the point of each run"),
        (takes_nothing, {"check": True}, "check is called with the point of each run"),
    ],
)
@virtual_time
async def test_a_scenario_of_another_form_shows_the_right_one(scenario: Any, options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        await cancel_everywhere(scenario, **options)


@virtual_time
async def test_a_scenario_that_was_called_is_closed_and_named(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(TypeError, match="give the async function itself, without calling it"):
        await cancel_everywhere(any_value(takes_nothing()))
    assert not recwarn.list


@virtual_time
async def test_a_scenario_whose_parameters_are_optional_still_works() -> None:
    async def marked(point: Any = None) -> None:
        with point():
            await trio.lowlevel.checkpoint()

    async def whole(*, seconds: float = 0) -> None:
        await trio.sleep(seconds)

    assert await cancel_everywhere(marked) == await cancel_everywhere(whole)


@virtual_time
async def test_a_raw_peer_says_what_it_sends() -> None:
    async with app.test_client() as client, client.raw("/echo") as peer:
        with pytest.raises(TypeError, match=r"send\(\) takes bytes as they go to the network: encode\(\) the text"):
            peer.send(any_value("hello"))
        with pytest.raises(TypeError, match=r"code takes a whole number from 0 to 65535, or None"):
            peer.close_frame(any_value("1000"))
        with pytest.raises(ValueError, match=r"code must be from 0 to 65535, or None"):
            peer.close_frame(70_000)
        with pytest.raises(TypeError, match="the reason of a close frame is text or bytes, not 7"):
            peer.close_frame(1000, any_value(7))
        peer.message("hello")
        assert (await peer.receive_frame()).text == "hello"

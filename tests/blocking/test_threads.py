"""Plain functions of users run in threads: whatever they block, the event loop goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import attrs
import pytest
import trio
from support.handlers import app_of, app_of_listener

from trio_ws import (
    App,
    BlockingWebSocket,
    ConnectionRejected,
    Controller,
    Depends,
    Request,
    WebSocket,
    WebSocketDisconnect,
)
from trio_ws.app import GuardContext, in_loop, websocket


class Blocker:
    """Blocks whoever calls it until the event loop, which goes on, lets it."""

    def __init__(self) -> None:
        self.blocked = threading.Event()
        self.free = threading.Event()
        self.threads: list[int] = []

    def __call__(self, *_: object) -> bool:
        return self.wait()

    def wait(self) -> bool:
        """Block until `release`."""
        self.threads.append(threading.get_ident())
        self.blocked.set()
        # The event loop's thread would wait for itself here: for a few seconds, then the test fails.
        assert self.free.wait(5), "the event loop is blocked"
        return True

    async def release(self) -> None:
        """Wait in the event loop until a thread is blocked, and let it go."""
        await trio.to_thread.run_sync(self.blocked.wait, 5)
        self.free.set()


async def talk(app: App) -> Any:
    async with app.test_client(raise_server_errors=False) as client, client.websocket_connect("/a") as ws:
        with contextlib.suppress(WebSocketDisconnect):  # one that has failed already
            await ws.send('"x"')
        return await ws.recv()


async def hello(ws: WebSocket) -> None:
    await ws.receive()
    await ws.send("hello")


def with_guard(block: Blocker) -> App:
    app = App()
    app.websocket("/a", guards=[lambda context: block()])(hello)
    return app


def with_guard_class(block: Blocker) -> App:
    class Guard:
        def can_activate(self, context: GuardContext) -> bool:
            return block()

    app = App(guards=[Guard])
    app.websocket("/a")(hello)
    return app


def with_guard_constructor(block: Blocker) -> App:
    class Guard:
        def __init__(self) -> None:
            block()

        async def can_activate(self, context: GuardContext) -> bool:
            return True

    app = App(guards=[Guard])
    app.websocket("/a")(hello)
    return app


def with_dependency(block: Blocker) -> App:
    app = App()

    @app.websocket("/a")
    async def view(ws: WebSocket, x: bool = Depends(block.wait)) -> None:
        await hello(ws)

    return app


def with_dependency_class(block: Blocker) -> App:
    class Database:
        def __init__(self) -> None:
            block()

    app = App()

    @app.websocket("/a")
    async def view(ws: WebSocket, db: Database = Depends()) -> None:
        await hello(ws)

    return app


def with_entered(block: Blocker) -> App:
    def database() -> Iterator[str]:
        block()
        yield "db"

    app = App()

    @app.websocket("/a")
    async def view(ws: WebSocket, db: str = Depends(database)) -> None:
        await hello(ws)

    return app


def with_left(block: Blocker) -> App:
    @contextlib.contextmanager
    def database() -> Iterator[str]:
        yield "db"
        block()

    app = App()

    @app.websocket("/a")
    async def view(ws: WebSocket, db: str = Depends(database)) -> None:
        await hello(ws)

    return app


def with_controller(block: Blocker) -> App:
    class Car(Controller):
        def __init__(self) -> None:
            block()

        @websocket("/a")
        async def view(self) -> None:
            await hello(self.websocket)

    return App(controllers=[Car])


def with_on_error(block: Blocker) -> App:
    app = App()

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        raise ZeroDivisionError

    app.on_error(lambda ws, error: block())
    return app


def with_on_invalid(block: Blocker) -> App:
    app = App()

    @app.listener("/a", on_invalid=lambda error: block())
    async def listen(data: int) -> None: ...

    return app


@pytest.mark.parametrize(
    "make",
    [
        with_guard,
        with_guard_class,
        with_guard_constructor,
        with_dependency,
        with_dependency_class,
        with_entered,
        with_left,
        with_controller,
        with_on_error,
        with_on_invalid,
    ],
)
async def test_a_plain_function_that_blocks_keeps_the_loop_going(make: Callable[[Blocker], App]) -> None:
    block = Blocker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(block.release)
        await talk(make(block))
    assert block.threads
    assert threading.get_ident() not in block.threads


async def test_a_plain_page_that_blocks_keeps_the_loop_going() -> None:
    block = Blocker()
    app = App()
    app.page("/", lambda request: f"{block()}")
    async with trio.open_nursery() as nursery, app.test_client() as client:
        nursery.start_soon(block.release)
        assert (await client.get("/")).text == "True"


async def test_async_and_in_loop_functions_stay_in_the_event_loop() -> None:
    """Async functions and those that say in_loop stay in the loop."""
    threads: list[int] = []

    def note() -> bool:
        threads.append(threading.get_ident())
        return True

    class Guard:
        in_loop = True

        def __init__(self) -> None:
            note()

        def can_activate(self, context: GuardContext) -> bool:
            return note()

    @in_loop
    @attrs.frozen
    class Paging:
        page: int = attrs.field(default=1, validator=lambda *_: note() and None)

    async def asynchronous() -> bool:
        return note()

    app = App(guards=[Guard, Guard(), asynchronous, in_loop(lambda context: note())])

    @app.websocket("/a")
    async def view(
        ws: WebSocket,
        paging: Paging = Depends(),
        marked: bool = Depends(note, in_loop=True),
        other: bool = Depends(asynchronous),
    ) -> None:
        await ws.send("hello")

    app.page("/", in_loop(lambda request: f"{note()}"))
    async with app.test_client() as client:
        async with client.websocket_connect("/a") as ws:
            assert await ws.receive() == "hello"
        assert (await client.get("/")).text == "True"
    assert len(threads) > 8
    assert set(threads) == {threading.get_ident()}


async def test_guards_do_not_wait_for_the_threads_of_views() -> None:
    app = App(max_threads=1)

    @app.websocket("/plain")
    def plain(ws: BlockingWebSocket) -> None:
        ws.send("here")
        ws.receive()

    app.websocket("/a", guards=[lambda: True])(hello)
    async with app.test_client() as client, client.websocket_connect("/plain") as busy:
        assert await busy.receive() == "here"
        async with client.websocket_connect("/a") as ws:
            await ws.send("x")
            assert await ws.receive() == "hello"
        await busy.send("end")


async def test_dependency_of_cancelled_handler_exits_in_a_thread() -> None:
    """A dependency is left in a thread though its handler is cancelled."""
    left: list[bool] = []

    def database() -> Iterator[None]:
        try:
            yield
        finally:
            left.append(threading.current_thread() is threading.main_thread())

    async def push(ws: WebSocket, db: None = Depends(database)) -> None:
        await ws.send("hello")
        await trio.sleep_forever()

    async with app_of(push, "/a").test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive() == "hello"
    assert left == [False]


async def test_virtual_time_stands_still_while_a_thread_works(autojump_clock: Any) -> None:
    """Else an autojump clock would jump over `open_timeout`, as if the guard took ten seconds."""
    app = App()

    def guard() -> bool:
        done = threading.Event()
        threading.Timer(0.05, done.set).start()
        return done.wait(5)

    app.websocket("/a", guards=[guard])(hello)
    try:
        assert (await talk(app)).text == "hello"
    except ConnectionRejected:
        pytest.fail("the clock went on")
    assert autojump_clock.current_time() < 1


async def test_what_a_plain_page_reads_is_the_request() -> None:
    app = App()

    def page(request: Request) -> dict[str, str]:
        return {"path": request.path}

    app.page("/p", page)
    async with app.test_client() as client:
        assert (await client.get("/p")).json() == {"path": "/p"}


async def test_a_plain_function_may_return_what_is_to_be_awaited() -> None:
    async def allowed() -> bool:
        return True

    def plain() -> Any:
        return allowed()

    async def view(ws: WebSocket, x: bool = Depends(plain)) -> None:
        await ws.send(f"{x}")

    async with app_of(view, "/a", App(guards=[plain])).test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive() == "True"


# --- context variables, and threads that wait for each other --------------------------------------------------------

language: ContextVar[str] = ContextVar("language", default="none")


def set_language() -> bool:
    language.set("Basque")
    return True


def language_for_a_while(log: list[str]) -> Callable[[], Iterator[None]]:
    def entered() -> Iterator[None]:
        token = language.set("Basque")
        try:
            yield
        finally:
            language.reset(token)
            log.append(language.get())

    return entered


async def language_of(app: App) -> Any:
    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        return await ws.receive_text()


async def tell_language(ws: WebSocket) -> None:
    await ws.send(language.get())


async def test_context_variable_set_by_threaded_guard_is_in_handler() -> None:
    """A variable that a guard in a thread sets is set in the handler."""
    app = App()
    app.websocket("/a", guards=[set_language])(tell_language)
    assert await language_of(app) == "Basque"


async def test_a_dependency_resets_the_variable_that_it_has_set() -> None:
    log: list[str] = []

    async def view(ws: WebSocket, _: Any = Depends(language_for_a_while(log))) -> None:
        await tell_language(ws)

    assert await language_of(app_of(view, "/a")) == "Basque"
    assert log == ["none"]


async def test_a_plain_generator_of_replies_keeps_its_variables() -> None:
    def replies(data: int) -> Iterator[str]:
        token = language.set("Basque")
        yield language.get()
        language.reset(token)
        yield language.get()

    async with app_of_listener(replies, "/a").test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send("1")
        assert [await ws.receive_json() for _ in range(2)] == ["Basque", "none"]


async def test_dependencies_waiting_for_exit_of_others_do_not_deadlock() -> None:
    """All threads for calls wait for the one item of a pool; the thread that gives it back is not one of them."""
    pool = threading.Semaphore(1)

    def pooled() -> Iterator[None]:
        assert pool.acquire(timeout=10), "deadlock"
        yield
        pool.release()

    async def view(ws: WebSocket, _: Any = Depends(pooled)) -> None:
        await ws.send("mine")
        await ws.receive()

    async def take(client: Any) -> None:
        async with client.websocket_connect("/a") as ws:
            assert await ws.receive_text() == "mine"
            await ws.send("enough")

    async with app_of(view, "/a", App(max_threads=1)).test_client() as client, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(take, client)


async def test_plain_on_disconnect_does_not_wait_for_view_threads() -> None:
    """A plain on_disconnect does not wait for the threads of views."""
    called = trio.Event()
    app = App(max_threads=1)

    @app.websocket("/view")
    def view(ws: BlockingWebSocket) -> None:
        ws.send("running")
        ws.receive()

    @app.listener("/a")
    async def receive(data: int) -> None: ...

    @receive.on_disconnect
    def on_disconnect() -> None:
        trio.from_thread.run_sync(called.set)

    async with app.test_client() as client, client.websocket_connect("/view") as busy:
        assert await busy.receive_text() == "running"
        async with client.websocket_connect("/a"):
            pass
        with trio.fail_after(60):
            await called.wait()

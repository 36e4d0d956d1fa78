"""The C functions alone: what they refuse, what they hold on to, and what they do when memory runs out."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import sysconfig
import threading
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from codec_helpers import KEY, PLENTY, masked, plain
from support.machine import traced_memory

import trio_ws
from trio_ws.protocol.frames import BINARY, FIN, MASKED, PING, TEXT, encode_header

speedups: Any = pytest.importorskip("trio_ws.protocol._speedups", reason="the compiled codec was not built")


def parse(data: Any, out: Any, **changed: Any) -> Any:
    """Call `parse` on a server's side, without bounds."""
    given = {"position": 0, "stop": PLENTY, "budget": PLENTY, "masked": MASKED, "largest": PLENTY, **changed}
    position, bounds = given["position"], (given["stop"], given["budget"])
    return speedups.parse(data, position, out, *bounds, given["masked"], given["largest"])


WRONG_CALLS = [
    ("parse, no arguments", speedups.parse, (), TypeError),
    ("parse, no buffer", speedups.parse, ("text", 0, [], 1, 1, 0, 1), TypeError),
    ("parse, gaps", speedups.parse, (memoryview(b"abcd")[::2], 0, [], 1, 1, 0, 1), BufferError),
    ("parse, no list", speedups.parse, (b"", 0, (), 1, 1, 0, 1), TypeError),
    ("parse, behind the end", speedups.parse, (b"", 1, [], 1, 1, 0, 1), ValueError),
    ("parse, before the start", speedups.parse, (b"abc", -1, [], 1, 1, 0, 1), ValueError),
    ("parse, no position", speedups.parse, (b"", "0", [], 1, 1, 0, 1), TypeError),
    ("parse, no limit", speedups.parse, (b"", 0, [], 1, 1, 0, 1.5), TypeError),
    ("apply_mask, no key", speedups.apply_mask, (b"",), TypeError),
    ("apply_mask, no buffer", speedups.apply_mask, ("text", KEY), TypeError),
    ("apply_mask, short key", speedups.apply_mask, (b"data", b"123"), ValueError),
    ("apply_mask, long key", speedups.apply_mask, (b"data", b"12345"), ValueError),
    ("apply_mask, key is no buffer", speedups.apply_mask, (b"data", None), TypeError),
    ("encode, two arguments", speedups.encode, (0x81, b""), TypeError),
    ("encode, no first byte", speedups.encode, ("", b"", None), TypeError),
    ("encode, a buffer", speedups.encode, (0x81, bytearray(b""), None), TypeError),
    ("encode, no callable", speedups.encode, (0x81, b"", KEY), TypeError),
    ("encode, no key", speedups.encode, (0x81, b"", bytes), ValueError),
    ("encode, key is no buffer", speedups.encode, (0x81, b"", str), TypeError),
    ("encode, the error of the supply", speedups.encode, (0x81, b"", lambda: 1 // 0), ZeroDivisionError),
    ("plain_message, no message", speedups.plain_message, (3,), TypeError),
    ("plain_message, no text", speedups.plain_message, ("\ud800",), UnicodeEncodeError),
    ("encode, before the key", speedups.encode, (0x81, "\ud800", lambda: 1 // 0), UnicodeEncodeError),
]


class Index:
    """An integer that notes when it is converted, or fails."""

    def __init__(self, value: int | Exception, converted: list[object]) -> None:
        self.value = value
        self.converted = converted

    def __index__(self) -> int:
        self.converted.append(self.value)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.mark.parametrize("wrong", range(5))
def test_a_conversion_that_fails_is_the_last_one(wrong: int) -> None:
    """With an error set nothing of the user's may run: neither the next `__index__` nor anything that it calls."""
    error = ZeroDivisionError("mine")
    converted: list[object] = []
    values: list[int | Exception] = [0, PLENTY, PLENTY, MASKED, PLENTY]
    values[wrong] = error
    position, stop, budget, masking, largest = (Index(value, converted) for value in values)
    with pytest.raises(ZeroDivisionError, match="mine"):
        speedups.parse(masked(TEXT, b"a"), position, [], stop, budget, masking, largest)
    assert converted == values[: wrong + 1]


@pytest.mark.parametrize(("name", "function", "arguments", "error"), WRONG_CALLS)
def test_a_wrong_call_raises(name: str, function: Any, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        function(*arguments)


class TestParse:
    def test_it_stops_at_what_is_no_whole_message(self) -> None:
        good = masked(TEXT, "ä".encode()) + masked(BINARY, b"x" * 70_000)
        others = [
            b"",
            masked(PING, b""),
            masked(TEXT, b"part", fin=False),
            masked(TEXT, b"packed", rsv1=True),
            plain(TEXT, b""),
            plain(TEXT, b"x" * 200),
            masked(BINARY, b"x" * 70_001)[:-1],
            encode_header(FIN | BINARY, 70_001, MASKED) + bytes(70_005),
            bytes.fromhex("82 fe 00 7d") + bytes(200),
            bytes.fromhex("82 ff 00 00 00 00 00 00 ff ff") + bytes(70_000),
            bytes.fromhex("82 ff ff ff ff ff ff ff ff ff") + bytes(200),
        ]
        for other in others:
            out: list[Any] = []
            assert parse(good + other, out, largest=70_000)[0] == len(good)
            assert out == ["ä", b"x" * 70_000]

    @pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
    def test_a_frame_that_lacks_a_byte_is_left(self, size: int) -> None:
        for masking, frame in ((MASKED, masked(BINARY, b"x" * size)), (0, plain(BINARY, b"x" * size))):
            for cut in {*range(min(20, len(frame))), len(frame) - 1}:
                assert parse(frame[:cut], [], masked=masking) == (0, PLENTY)

    def test_it_begins_at_its_position(self) -> None:
        frames = masked(TEXT, b"a") + masked(TEXT, b"bc")
        out: list[Any] = []
        assert parse(frames, out, position=7, budget=100) == (len(frames), 98)
        assert out == ["bc"]

    def test_integers_beyond_the_machine_s_are_taken_as_its_largest(self) -> None:
        frame = masked(TEXT, b"a")
        out: list[Any] = []
        assert parse(frame, out, stop=1 << 80, budget=1 << 80, largest=1 << 80)[0] == len(frame)
        assert parse(frame, out, largest=-(1 << 80))[0] == 0
        assert out == ["a"]

    @pytest.mark.parametrize("budget", [0, -1, -sys.maxsize, -sys.maxsize - 1, -(1 << 80)])
    def test_a_budget_that_is_used_up_passes_one_message(self, budget: int) -> None:
        """The smallest integers too, from which nothing can be subtracted."""
        frame = masked(BINARY, b"x" * 300)
        out: list[Any] = []
        position, left = parse(frame * 2, out, budget=budget)
        assert (position, out) == (len(frame), [b"x" * 300])
        if budget > -sys.maxsize:
            assert left == budget - 300
        else:
            assert -sys.maxsize - 1 <= left < -sys.maxsize + len(frame) * 2

    @pytest.mark.parametrize("size", [3, 5000])
    def test_wrong_text_raises_after_the_messages_before_it(self, size: int) -> None:
        for masking, frame in ((MASKED, masked), (0, plain)):
            out: list[Any] = []
            with pytest.raises(UnicodeDecodeError):
                parse(frame(TEXT, b"a") + frame(TEXT, b"x" * size + b"\xff"), out, masked=masking)
            assert out == ["a"]

    def test_the_buffer_is_let_go_of_on_every_way_out(self) -> None:
        """A bytearray that somebody holds a view of cannot be resized."""
        data = bytearray(masked(TEXT, b"a") + masked(TEXT, b"\xff"))
        with pytest.raises(UnicodeDecodeError):
            parse(data, [])
        with pytest.raises(ValueError, match="position"):
            parse(data, [], position=1000)
        with pytest.raises(ValueError, match="four bytes"):
            speedups.apply_mask(data, b"")
        with pytest.raises(ValueError, match="four bytes"):
            speedups.encode(0x82, b"", lambda: data)
        speedups.apply_mask(data, bytearray(KEY))
        data.clear()


def new_key() -> bytes:
    return bytes(bytearray(KEY))


def every_path() -> None:
    """Go through the functions, in success and in failure."""
    for masking, frame in ((MASKED, masked), (0, plain)):
        frames = [frame(opcode, b"x" * size) for opcode in (TEXT, BINARY) for size in (3, 300, 9000)]
        parse(b"".join(frames), [], masked=masking)
    for data in ("ä" * 10, b"x" * 10, "x" * 70_000, b"x" * 70_000):
        speedups.encode(0x82, data, None)
        speedups.encode(0x82, data, new_key)
        speedups.plain_message(data)
    for buffer in (bytearray(b"x" * 300), memoryview(b"x" * 300)[::2]):
        speedups.plain_message(buffer)
    for _, function, arguments, error in WRONG_CALLS:
        with suppress(error):
            function(*arguments)
    for wrong in (masked(TEXT, b"\xff"), masked(TEXT, b"\xff" * 9000)):
        with suppress(UnicodeDecodeError):
            parse(wrong, [])


@pytest.mark.slow
def test_no_path_leaks() -> None:
    """Counted in bytes: one leaked object is at least 33 of them, each time."""
    times = 100
    with traced_memory():
        every_path()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(times):
            every_path()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    assert after - before < 30 * times


NO_MEMORY = """
import _testcapi
from trio_ws.protocol import _speedups
from trio_ws.protocol.frames import encode_frame

key = b"1234"
text, binary = (encode_frame(opcode, b"x" * 9000, mask=key) for opcode in (1, 2))
calls = [
    (_speedups.parse, (text, 0, [], 1000, 1 << 40, 128, 1 << 40)),
    (_speedups.parse, (binary, 0, [], 1000, 1 << 40, 128, 1 << 40)),
    (_speedups.apply_mask, (binary, key)),
    (_speedups.encode, (0x81, "\\u00e4" * 600, None)),
    (_speedups.encode, (0x82, b"x" * 600, key.__bytes__)),
    (_speedups.plain_message, ("\\u00e5" * 600,)),
    (_speedups.plain_message, (b"x" * 600,)),
    (_speedups.plain_message, (bytearray(600),)),
]
for function, arguments in calls:
    refused = 0
    for start in range(1, 20):
        _testcapi.set_nomemory(start, 0)
        try:
            function(*arguments)
        except MemoryError:
            refused += 1
        else:
            break
        finally:
            _testcapi.remove_mem_hooks()
    else:
        raise SystemExit("it never succeeds")
    if not refused:
        raise SystemExit("it never runs out of memory")
print("whole")
"""


@pytest.mark.slow
def test_without_memory_each_function_raises_memory_error() -> None:
    """Whichever allocation it is that fails; in a process of its own, with the allocator whose calls can be failed."""
    pytest.importorskip("_testcapi")
    done = subprocess.run(
        [sys.executable, "-P", "-c", NO_MEMORY],
        env={**os.environ, "PYTHONMALLOC": "pymalloc", "PYTHONPATH": str(Path(trio_ws.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("whole\n", "")


# --- interpreters and threads ---

USE = """
import importlib.util
spec = importlib.util.spec_from_file_location("trio_ws.protocol._speedups", {path!r})
speedups = importlib.util.module_from_spec(spec)
spec.loader.exec_module(speedups)
out = []
frame = speedups.encode(0x81, "h\u00e9llo", lambda: b"abcd")
assert speedups.parse(frame, 0, out, 9, 99, 0x80, 99) == (len(frame), 93), out
assert out == ["h\u00e9llo"]
"""

INTERPRETERS = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

use = {use!r}
exec(use)
for _ in range(3):
    # From 3.12 on an interpreter has a GIL of its own unless it is asked not to, and refuses modules that share one.
    interpreter = interpreters.create()
    failure = interpreters.run_string(interpreter, use)
    assert failure is None, failure
    interpreters.destroy(interpreter)
exec(use)
print("whole")
"""


def run_python(code: str) -> tuple[str, str]:
    """Run code in a process of its own, which is not measured; return what it wrote."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout, done.stderr


def test_each_interpreter_of_a_process_loads_the_module() -> None:
    """The extension alone: pydantic's refuses every interpreter but the first."""
    use = USE.format(path=speedups.__file__)
    assert run_python(INTERPRETERS.format(use=use)) == ("whole\n", "")


def test_a_free_threaded_interpreter_keeps_running_without_gil() -> None:
    """A module that does not say that it needs none turns the GIL on again, with a warning."""
    if not hasattr(sys, "_is_gil_enabled") or sysconfig.get_config_var("Py_GIL_DISABLED") != 1:
        pytest.skip("the interpreter is not a free-threaded build")
    use = USE.format(path=speedups.__file__)
    code = f"{use}\nimport sys\nprint(sys._is_gil_enabled())"
    assert run_python(code) == ("False\n", "")


def test_threads_that_share_a_buffer_do_not_disturb_each_other() -> None:
    frames = masked(TEXT, "ä".encode() * 3000) + masked(BINARY, b"x" * 9000)
    wanted = ["ä" * 3000, b"x" * 9000]
    results: list[object] = []

    def work() -> None:
        for _ in range(50):
            out: list[Any] = []
            parse(frames, out)
            results.append(out == wanted and speedups.apply_mask(frames, KEY) == masked_twice)

    masked_twice = speedups.apply_mask(frames, KEY)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 200

"""Run `trio-ws conform` over the servers and clients of other libraries, and print the matrix of docs/conformance.md.

    .venv-bench/bin/python benchmarks/conformance.py [--report DIR] [--peer NAME] [options of trio-ws conform]

It needs the environment of `make bench`; for node's `ws`, node and npm, which install it into build/conformance/node.
`--peer server:uvicorn-wsproto` runs a part; `--render` prints the matrix of an earlier run.

A server that ends is started again. What may come of that, or of a machine that is busy, does not count: cases
in which nothing came in time run once more, and where that does not help, each alone with a server of its own; the last
verdict stands.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from trio_ws import __version__
from trio_ws.conformance.catalogue import all_cases, all_chapters
from trio_ws.conformance.report.folder import add_to_folder
from trio_ws.conformance.report.json_report import from_json
from trio_ws.conformance.results import AgentResults, Result, Verdict

HERE = Path(__file__).parent
ROOT = HERE.parent
NODE = ROOT / "build" / "conformance" / "node"
START_SECONDS = 60.0
"""In which a server has to listen."""
CLIENT_SECONDS = 1500.0
"""In which a driver has to play all cases."""
DISTURBED = ("timed out", "no response", "the client did not", "cannot connect")
"""Texts of verdicts that a late answer or an earlier case may have caused."""


@attrs.frozen
class Peer:
    """One implementation."""

    name: str
    script: str
    package: str
    arguments: tuple[str, ...] = ()


SERVERS = (
    Peer("trio-ws", "server_ours.py", "trio-ws"),
    Peer("websockets", "server_websockets.py", "websockets"),
    Peer("websockets-trio", "server_websockets_trio.py", "websockets"),
    Peer("aiohttp", "server_aiohttp.py", "aiohttp"),
    Peer("uvicorn-websockets", "server_uvicorn.py", "uvicorn", ("websockets",)),
    Peer("uvicorn-wsproto", "server_uvicorn.py", "uvicorn", ("wsproto",)),
    Peer("hypercorn", "server_hypercorn.py", "hypercorn"),
    Peer("trio-websocket", "server_trio_websocket.py", "trio-websocket"),
    Peer("picows", "server_picows.py", "picows"),
    Peer("tornado", "server_tornado.py", "tornado"),
    Peer("ws", "server_ws.mjs", "ws"),
)
CLIENTS = (
    Peer("trio-ws", "client_ours.py", "trio-ws"),
    Peer("websockets", "client_websockets.py", "websockets"),
    Peer("aiohttp", "client_aiohttp.py", "aiohttp"),
    Peer("trio-websocket", "client_trio_websocket.py", "trio-websocket"),
    Peer("picows", "client_picows.py", "picows"),
    Peer("tornado", "client_tornado.py", "tornado"),
    Peer("ws", "client_ws.mjs", "ws"),
)


def version_of(peer: Peer) -> str:
    if peer.package != "ws":
        return importlib.metadata.version(peer.package)
    install_ws()
    package = NODE / "node_modules" / "ws" / "package.json"
    version: str = json.loads(package.read_text(encoding="utf-8"))["version"]
    return version


def install_ws() -> None:
    NODE.mkdir(parents=True, exist_ok=True)
    if not (NODE / "node_modules" / "ws").exists():
        subprocess.run(["npm", "install", "--silent", "ws"], cwd=NODE, check=True)


def command_of(peer: Peer, *arguments: str) -> list[str]:
    if not peer.script.endswith(".mjs"):
        return [sys.executable, str(HERE / "echo" / peer.script), *arguments, *peer.arguments]
    install_ws()
    shutil.copy(HERE / "echo" / peer.script, NODE)
    return ["node", str(NODE / peer.script), *arguments, *peer.arguments]


class Program:
    """A peer's program, which is started again whenever it ends.

    Attributes:
        ends: how often it ended by itself.
    """

    def __init__(self, command: list[str], *, again: bool) -> None:
        self.ends = 0
        self._command = command
        self._again = again
        self._over = False
        self._process = self._start()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()

    def _start(self) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        return subprocess.Popen(self._command, stdout=null, stderr=null, stdin=null)

    def _watch(self) -> None:
        while True:
            self._process.wait()
            if self._over or not self._again:
                return
            self.ends += 1
            self._process = self._start()

    def stop(self) -> None:
        self._over = True
        self._process.kill()
        self._watcher.join()


@contextlib.contextmanager
def running(command: list[str], *, again: bool = False) -> Iterator[Program]:
    program = Program(command, again=again)
    try:
        yield program
    finally:
        program.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def suite(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "trio_ws", "conform", *arguments]


def test_server(peer: Peer, report: Path, extra: list[str]) -> None:
    port = free_port()
    with running(command_of(peer, str(port)), again=True) as program:
        wait_for(port)
        options = ["--report", str(report), "--agent", agent_of(peer), *extra]
        subprocess.run(suite("server", f"ws://127.0.0.1:{port}/", *options), check=False)
    if program.ends:
        print(f"the server ended {program.ends} times, and was started again", flush=True)


def test_client(peer: Peer, report: Path, extra: list[str]) -> None:
    port = free_port()
    options = ["--once", "--report", str(report), "--agent", agent_of(peer), *extra]
    listen = suite("client", "--listen", f"127.0.0.1:{port}", *options)
    with subprocess.Popen(listen) as process:
        try:
            wait_for(port)
            with running(command_of(peer, f"ws://127.0.0.1:{port}", peer.name)):
                process.wait(CLIENT_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()


def agent_of(peer: Peer) -> str:
    return f"{peer.name} {version_of(peer)}"


def test(side: str, peer: Peer, report: Path, only: list[str], extra: list[str]) -> None:
    """Run all cases, then those that may have been disturbed alone, and write the report."""
    play = {"server": test_server, "client": test_client}[side]
    wanted = ids_of(side, [*only, *extra])
    found: dict[str, Result] = {}

    def run(*options: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            play(peer, Path(folder), [*extra, *options])
            found.update((result.case.id, result) for result in results_in(Path(folder)))

    run(*only)
    while missing := [each for each in wanted if each not in found]:  # the program ended, and was gone for a moment
        run("--only", ",".join(missing))
        if missing[0] not in found:
            case = next(case for case in all_cases() if case.id == missing[0])
            found[case.id] = Result(case, Verdict.ERROR, text="the program ended before this case, again and again")
    if again := [result.case.id for result in found.values() if disturbed(result)]:
        run("--only", ",".join(again))
    for case in [each for each in again if disturbed(found[each])]:
        run("--only", case)
    chapters = all_chapters()
    add_to_folder(report, AgentResults(agent_of(peer), side, [found[each] for each in wanted], __version__), chapters)


def ids_of(side: str, extra: list[str]) -> list[str]:
    where = ("server", "ws://127.0.0.1:1/") if side == "server" else ("client",)
    listed = subprocess.run(suite(*where, "--list", *extra), check=True, capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line[:1].isdigit()]


def disturbed(result: Result) -> bool:
    return not result.verdict.passed and any(words in result.text for words in DISTURBED)


def results_in(folder: Path) -> list[Result]:
    cases = [case for chapter in all_chapters() for case in chapter.cases]
    (path,) = folder.glob("*.json")
    return from_json(json.loads(path.read_text(encoding="utf-8")), cases).results


def matrix(report: Path) -> str:
    """Return the table of all JSON reports in a folder: cases per chapter that are not OK, NON-STRICT in brackets."""
    agents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(report.glob("*.json"))]
    return "\n\n".join(
        table(side, [agent for agent in agents if agent["side"] == side]) for side in ("server", "client")
    )


def table(side: str, agents: list[dict[str, Any]]) -> str:
    chapters = sorted({case["id"].split(".")[0] for agent in agents for case in agent["cases"]}, key=int)
    lines = [f"| {side} | {' | '.join(agent['agent'] for agent in agents)} |", "|---" * (len(agents) + 1) + "|"]
    for chapter in chapters:
        cells = []
        for agent in agents:
            count = Counter(each["verdict"] for each in agent["cases"] if each["id"].split(".")[0] == chapter)
            cells.append(cell(count))
        lines.append(f"| {chapter} | {' | '.join(cells)} |")
    for level in ("MUST", "SHOULD", "hardening"):
        failed = [
            sum(each["verdict"] in ("FAILED", "ERROR") and each["level"] == level for each in agent["cases"])
            for agent in agents
        ]
        lines.append(f"| failed, {level} | {' | '.join(map(str, failed))} |")
    return "\n".join(lines)


def cell(count: Counter[str]) -> str:
    failed = count["FAILED"] + count["ERROR"]
    if count and count["UNIMPLEMENTED"] == count.total():
        return "n/a"
    words = [f"**{failed}**"] if failed else []
    words += [f"({count['NON-STRICT']})"] if count["NON-STRICT"] else []
    words += [f"{count['UNIMPLEMENTED']} n/a"] if count["UNIMPLEMENTED"] else []
    return " ".join(words) or "ok"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], help="such as server:aiohttp or client:ws; else all")
    parser.add_argument("--only", default="", metavar="CASES", help="as of trio-ws conform")
    parser.add_argument("--report", type=Path, default=ROOT / "build" / "conformance" / "report")
    parser.add_argument("--render", action="store_true", help="print the matrix of an earlier run")
    options, extra = parser.parse_known_args()
    if not options.render:
        for side, peers in (("server", SERVERS), ("client", CLIENTS)):
            for peer in peers:
                if not options.peer or f"{side}:{peer.name}" in options.peer:
                    print(f"--- {side} {peer.name}", flush=True)
                    only = ["--only", options.only] if options.only else []
                    test(side, peer, options.report, only, extra)
    print(matrix(options.report))


if __name__ == "__main__":
    main()

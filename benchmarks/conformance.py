"""Run `trio-ws conform` over the servers and clients of other libraries, and print the matrix of docs/conformance.md.

    .venv-bench/bin/python benchmarks/conformance.py [--report DIR] [--peer NAME] [options of trio-ws conform]

It needs the environment of `make bench` with tornado; for node's `ws`, node and npm, which install it into
build/conformance/node. `--peer server:uvicorn-wsproto` runs a part; `--render` prints the matrix of an earlier run.
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
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

HERE = Path(__file__).parent
ROOT = HERE.parent
NODE = ROOT / "build" / "conformance" / "node"
START_SECONDS = 60.0
"""In which a server has to listen."""
CLIENT_SECONDS = 1500.0
"""In which a driver has to play all cases."""


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
    package = NODE / "node_modules" / "ws" / "package.json"
    version: str = json.loads(package.read_text(encoding="utf-8"))["version"]
    return version


def command_of(peer: Peer, *arguments: str) -> list[str]:
    if not peer.script.endswith(".mjs"):
        return [sys.executable, str(HERE / "echo" / peer.script), *arguments, *peer.arguments]
    NODE.mkdir(parents=True, exist_ok=True)
    if not (NODE / "node_modules" / "ws").exists():
        subprocess.run(["npm", "install", "--silent", "ws"], cwd=NODE, check=True)
    shutil.copy(HERE / "echo" / peer.script, NODE)
    return ["node", str(NODE / peer.script), *arguments, *peer.arguments]


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


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
    with running(command_of(peer, str(port))):
        wait_for(port)
        agent = f"{peer.name} {version_of(peer)}"
        subprocess.run(
            suite("server", f"ws://127.0.0.1:{port}/", "--report", str(report), "--agent", agent, *extra), check=False
        )


def test_client(peer: Peer, report: Path, extra: list[str]) -> None:
    port = free_port()
    agent = f"{peer.name} {version_of(peer)}"
    listen = suite(
        "client", "--listen", f"127.0.0.1:{port}", "--once", "--report", str(report), "--agent", agent, *extra
    )
    with subprocess.Popen(listen) as process:
        try:
            wait_for(port)
            with running(command_of(peer, f"ws://127.0.0.1:{port}", peer.name)):
                process.wait(CLIENT_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()


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
    parser.add_argument("--report", type=Path, default=ROOT / "build" / "conformance" / "report")
    parser.add_argument("--render", action="store_true", help="print the matrix of an earlier run")
    options, extra = parser.parse_known_args()
    if not options.render:
        for side, peers, test in (("server", SERVERS, test_server), ("client", CLIENTS, test_client)):
            for peer in peers:
                if not options.peer or f"{side}:{peer.name}" in options.peer:
                    print(f"--- {side} {peer.name}", flush=True)
                    test(peer, options.report, extra)
    print(matrix(options.report))


if __name__ == "__main__":
    main()

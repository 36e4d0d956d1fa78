"""The run of the suite against clients, by the protocol that the drivers of the published suite follow.

A client asks `/getCaseCount`, opens `/runCase?case=N&agent=NAME` for each case from 1 on and echoes what it receives,
then opens `/updateReports?agent=NAME`. `/getCaseInfo?case=N` and `/getCaseStatus?case=N&agent=NAME` say more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from trio_ws.conformance.case import Case
from trio_ws.conformance.finding import Finding
from trio_ws.conformance.frames import close, text
from trio_ws.conformance.handshakes import HandshakeContext
from trio_ws.conformance.judge import judge
from trio_ws.conformance.log import WireLog
from trio_ws.conformance.opening import PLAIN_RESPONSE, OpeningHead
from trio_ws.conformance.opening_checks import key_of
from trio_ws.conformance.peer import Pace, SuitePeer
from trio_ws.conformance.results import Result
from trio_ws.http.url import QueryParameters

__all__ = ["ClientSuite"]

UNNAMED: Final = "unnamed"
"""The agent of a driver that names none."""
_NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class ClientSuite:
    """A server that plays cases on the clients that connect.

    Args:
        cases: case N of the protocol is the N-th, from 1 on.
        pace: how long to wait.
        subprotocols: that may be named in responses, if the client offers them.
        observe: called with the agent and each result.
        report: called with the agent when a driver is done.

    Attributes:
        results: by agent and the id of the case.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        pace: Pace,
        subprotocols: tuple[str, ...] = (),
        observe: Callable[[str, Result], None],
        report: Callable[[str], None],
    ) -> None:
        self.results: dict[str, dict[str, Result]] = {}
        self._cases = cases
        self._by_id = {case.id: case for case in cases}
        self._pace = pace
        self._context = HandshakeContext(subprotocols=subprotocols)
        self._observe = observe
        self._report = report

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection. Nothing that a client does ends the suite."""
        request: _SuiteRequest | None = None
        try:
            with trio.move_on_after(self._pace.timeout):
                request = await self._read(stream)
            if request is not None:
                await self._answer(stream, request)
        except (Finding, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _read(self, stream: trio.abc.Stream) -> _SuiteRequest | None:
        peer = SuitePeer(stream, client=False, pace=self._pace, log=WireLog())
        head = await peer.read_head()
        return None if head is None else _SuiteRequest.parse(head, peer)

    async def _answer(self, stream: trio.abc.Stream, request: _SuiteRequest) -> None:
        match request.path:
            case "/runCase" if (case := self._case_of(request)) is not None:
                await self._run_case(stream, request, case)
            case "/getCaseCount":
                await self._tell(request, str(len(self._cases)))
            case "/getCaseInfo" if (case := self._case_of(request)) is not None:
                await self._tell(request, json.dumps({"id": case.id, "description": case.title}))
            case "/getCaseStatus" if (case := self._case_of(request)) is not None:
                result = self.results.get(request.agent, {}).get(case.id)
                await self._tell(request, json.dumps({"behavior": result.verdict if result else "UNKNOWN"}))
            case "/updateReports":
                await self._tell(request, None)
                self._report(request.agent)
            case _:
                await stream.send_all(_NOT_FOUND)

    def _case_of(self, request: _SuiteRequest) -> Case | None:
        number = request.query.get("case", "")
        if number.isdecimal():
            return self._cases[int(number) - 1] if 1 <= int(number) <= len(self._cases) else None
        return self._by_id.get(request.query.get("casetuple", ""))

    async def _run_case(self, stream: trio.abc.Stream, request: _SuiteRequest, case: Case) -> None:
        result = await judge(case, stream, client=False, pace=self._pace, context=self._context, request=request.head)
        self.results.setdefault(request.agent, {})[case.id] = result
        self._observe(request.agent, result)

    async def _tell(self, request: _SuiteRequest, message: str | None) -> None:
        """Open the connection, send a message and close."""
        peer = request.peer
        with trio.move_on_after(self._pace.timeout):
            await peer.send_head(PLAIN_RESPONSE.encode(key_of(request.head), ()))
            peer.agree(None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.read)
                await peer.send((*([] if message is None else [text(message)]), close(1000)))
                await peer.wait_for(lambda: peer.closing is not None, "the close frame")
                await peer.end_stream()
                with trio.move_on_after(self._pace.linger):
                    await peer.wait_for(lambda: False, "the end")
                nursery.cancel_scope.cancel(reason="the connection has ended")


@attrs.frozen
class _SuiteRequest:
    """The request of a client to the suite."""

    head: OpeningHead
    peer: SuitePeer
    path: str
    query: QueryParameters
    agent: str

    @classmethod
    def parse(cls, head: OpeningHead, peer: SuitePeer) -> _SuiteRequest:
        words = head.line.split(" ")
        path, _, query = (words[1] if len(words) > 1 else "").partition("?")
        parameters = QueryParameters(query)
        return cls(head, peer, path, parameters, parameters.get("agent") or UNNAMED)

"""The commands `conform server` and `conform client`."""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from trio_ws.cli.defaults import INTERRUPTED
from trio_ws.cli.loading import UsageError
from trio_ws.cli.output import write_output
from trio_ws.conformance import baseline
from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.catalogue import UnknownCases, all_chapters, select
from trio_ws.conformance.client_suite import ClientSuite
from trio_ws.conformance.peer import Pace
from trio_ws.conformance.report.folder import add_to_folder
from trio_ws.conformance.report.terminal import Progress, summary
from trio_ws.conformance.results import AgentResults, Result, in_order
from trio_ws.conformance.scale import PUBLISHED, QUICK
from trio_ws.conformance.server_suite import run_server_cases
from trio_ws.conformance.server_under_test import CannotTest, ServerUnderTest, first_look
from trio_ws.escaping import printable
from trio_ws.http.url import URL, split_host
from trio_ws.server.signals import print_line
from trio_ws.version import __version__

__all__ = ["CannotRun", "conform_client", "conform_server", "print_result", "target_of"]

CANNOT_RUN: Final = 2
"""Exit status of a command that could not do its work, as for a wrong command line."""


class CannotRun(Exception):  # noqa: N818 - what it says
    """The command cannot run; the message says why."""


@attrs.define
class _RunPlan:
    """The selection and the pace of a run, from the options."""

    options: argparse.Namespace
    side: str
    chapters: Sequence[Chapter]
    cases: list[Case]
    pace: Pace
    known: baseline.Baseline | None

    @classmethod
    def of(cls, options: argparse.Namespace, side: str) -> _RunPlan:
        """Read the options.

        Raises:
            CannotRun: they do not fit.
        """
        chapters = all_chapters(PUBLISHED if options.full else QUICK)
        level = Level[options.level.upper()] if options.level else None
        everything = [case for chapter in chapters for case in chapter.cases]
        try:
            cases = select(everything, side, only=_split(options.only), skip=_split(options.skip), level=level)
            known = baseline.Baseline.read(options.baseline) if options.baseline else None
        except (UnknownCases, baseline.InvalidBaseline) as error:
            raise CannotRun(str(error)) from None
        if not cases:
            raise CannotRun("no case is left: --only, --skip and --level exclude each other")
        pace = Pace(timeout=options.timeout, pause=options.pause)
        return cls(options, side, chapters, cases, pace, known)

    def judged(self, result: Result) -> Result:
        """Return the result with the baseline applied."""
        return result if self.known is None else self.known.apply(result)

    def conclude(self, results: AgentResults) -> int:
        """Write the reports, print the summary, and return the exit status.

        Raises:
            CannotRun: a report or the summary cannot be written.
        """
        outdated = self.known.outdated(results.results) if self.known else []
        text = printable(summary(results, self.chapters, planned=len(self.cases), outdated=outdated), keep="\n")
        try:
            if self.options.write_baseline:
                baseline.write(self.options.write_baseline, results.results)
            if self.options.report:
                text += f"\nReport: {add_to_folder(self.options.report, results, self.chapters)}"
        except OSError as error:
            print_result(text)
            raise CannotRun(f"cannot write the report: {error}") from None
        print_result(text)
        return results.exit_status()

    def list_cases(self) -> int:
        """Print the cases that would run."""
        print_result("\n".join(f"{case.id:8} {case.weight:9} {case.section:20} {case.title}" for case in self.cases))
        return 0


def print_result(text: str) -> None:
    """Print text; without a standard output the exit status is all that is left.

    Raises:
        CannotRun: the output takes nothing, as on a full disk.
    """
    if sys.stdout is None:
        return
    try:
        write_output(f"{text}\n")
    except UsageError as error:
        raise CannotRun(str(error)) from None


def _split(values: Sequence[str]) -> list[str]:
    return [part for value in values for part in value.replace(",", " ").split()]


def _fail(error: Exception) -> int:
    print_line(f"trio-ws: {printable(str(error))}")
    return CANNOT_RUN


# --- conform server -----------------------------------------------------------------------------------------------


def conform_server(options: argparse.Namespace) -> int:
    """Test a server; return the exit status.

    Args:
        options: those of `cli.conform`.
    """
    try:
        plan = _RunPlan.of(options, "server")
        return plan.list_cases() if options.list else trio.run(_test_server, plan, target_of(options))
    except (CannotRun, CannotTest) as error:
        return _fail(error)


def target_of(options: argparse.Namespace) -> ServerUnderTest:
    """Return the server that the options name.

    Raises:
        CannotRun: the URL, a header, or a file of certificates is wrong.
    """
    try:
        url = URL.parse(options.url)
    except ValueError as error:
        raise CannotRun(str(error)) from None
    for header in options.header:
        if ":" not in header or not header.isprintable():
            raise CannotRun(f"a header looks like 'Name: value', not {header!r}")
    return ServerUnderTest(
        url, tuple(options.header), tuple(options.subprotocol), _context(options) if url.secure else None
    )


def _context(options: argparse.Namespace) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.cafile)
    except OSError as error:
        raise CannotRun(f"cannot load the certificates {options.cafile}: {error}") from None
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _test_server(plan: _RunPlan, target: ServerUnderTest) -> int:
    run = _ServerRun(plan, target)
    interrupted = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at_signal, signals, nursery.cancel_scope, interrupted)
            await run.run()
            nursery.cancel_scope.cancel(reason="all cases have run")
    if run.progress is None:
        if run.gone is not None:
            raise run.gone
        return INTERRUPTED
    run.progress.end()
    status = plan.conclude(AgentResults(run.agent, "server", in_order(run.results, plan.cases), __version__))
    if run.gone is not None:
        print_line(f"trio-ws: the server is gone: {printable(str(run.gone))}")
        return CANNOT_RUN
    return INTERRUPTED if interrupted.is_set() else status


class _ServerRun:
    """One run of the suite against a server, and what is known of it when it ends or is interrupted."""

    def __init__(self, plan: _RunPlan, target: ServerUnderTest) -> None:
        self.agent = plan.options.agent or target.url.netloc
        self.results: list[Result] = []
        self.progress: Progress | None = None
        self.gone: CannotTest | None = None
        self._plan = plan
        self._target = target

    async def run(self) -> None:
        """Look at the server, then run the cases."""
        plan = self._plan
        try:
            head = await first_look(self._target, plan.pace)
            self.agent = plan.options.agent or head.one("server")[:60] or self.agent
            self.progress = Progress(sys.stderr, len(plan.cases))
            await run_server_cases(
                self._target, plan.cases, pace=plan.pace, jobs=plan.options.jobs, observe=self._observe
            )
        except CannotTest as error:
            self.gone = error

    def _observe(self, result: Result) -> None:
        self.results.append(self._plan.judged(result))
        if self.progress is not None:
            self.progress.show(self.results[-1])


async def _cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope, interrupted: trio.Event) -> None:
    async for _ in signals:
        interrupted.set()
        scope.cancel(reason="interrupted")


# --- conform client -----------------------------------------------------------------------------------------------


def conform_client(options: argparse.Namespace) -> int:
    """Test clients until Ctrl-C, or until the first driver is done; return the exit status.

    Args:
        options: those of `cli.conform`.
    """
    try:
        plan = _RunPlan.of(options, "client")
        return plan.list_cases() if options.list else trio.run(_Drivers(plan).run)
    except CannotRun as error:
        return _fail(error)


class _Drivers:
    """The clients that connect, and the reports on them."""

    def __init__(self, plan: _RunPlan) -> None:
        self._plan = plan
        self._scope = trio.CancelScope()
        self._progress: dict[str, Progress] = {}
        self._statuses: dict[str, int] = {}
        subprotocols = tuple(plan.options.subprotocol)
        self._suite = ClientSuite(
            plan.cases, pace=plan.pace, subprotocols=subprotocols, observe=self._observe, report=self._report
        )

    async def run(self) -> int:
        """Listen, and test each client that connects."""
        context = self._server_context()
        listeners = await self._listen()
        scheme = "ws" if context is None else "wss"
        where = self._plan.options.listen
        print_line(
            f"{len(self._plan.cases)} cases wait at {scheme}://{where}: start the driver of your client (Ctrl-C ends)"
        )
        interrupted = trio.Event()
        with trio.open_signal_receiver(signal.SIGINT) as signals, self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_at_signal, signals, self._scope, interrupted)
                await trio.serve_listeners(partial(self._handle, context), listeners)
        for agent in set(self._suite.results) - set(self._statuses):
            print_line(f"{printable(agent)} has not opened /updateReports: this is what ran")
            self._report(agent)
        if not self._statuses:
            return INTERRUPTED
        return min((status for status in self._statuses.values() if status), default=0)

    async def _handle(self, context: ssl.SSLContext | None, stream: trio.SocketStream) -> None:
        if context is None:
            await self._suite.handle(stream)
        else:
            await self._suite.handle(trio.SSLStream(stream, context, server_side=True, https_compatible=True))

    def _observe(self, agent: str, result: Result) -> None:
        progress = self._progress.get(agent)
        if progress is None:
            print_line(f"{printable(agent)} has begun")
            progress = self._progress[agent] = Progress(sys.stderr, len(self._plan.cases))
        progress.show(self._plan.judged(result))

    def _report(self, agent: str) -> None:
        if agent in self._progress:
            self._progress.pop(agent).end()
        found = [self._plan.judged(each) for each in self._suite.results.get(agent, {}).values()]
        name = self._plan.options.agent or agent
        results = AgentResults(name, "client", in_order(found, self._plan.cases), __version__)
        try:
            self._statuses[agent] = self._plan.conclude(results)
        except CannotRun as error:  # other clients go on
            self._statuses[agent] = _fail(error)
        if self._plan.options.once:
            self._scope.cancel(reason="the driver is done")

    async def _listen(self) -> list[trio.SocketListener]:
        try:
            host, port = split_host(self._plan.options.listen)
            return await trio.open_tcp_listeners(9001 if port is None else port, host=host.strip("[]"))
        except (OSError, ValueError) as error:
            raise CannotRun(f"cannot listen on {self._plan.options.listen}: {error}") from None

    def _server_context(self) -> ssl.SSLContext | None:
        options = self._plan.options
        if options.ssl_certfile is None:
            if options.ssl_keyfile is not None:
                raise CannotRun("--ssl-keyfile needs --ssl-certfile")
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile)
        except OSError as error:
            raise CannotRun(f"cannot load the certificate {options.ssl_certfile}: {error}") from None
        return context

"""The tests that trio-websocket publishes, run against our implementation of its interface.

They are fetched from the package index once, into `build/`, and are no part of this repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
import trio
from examples.process import output_of_forked

VERSION = "0.12.2"
TESTS = Path(__file__).parents[1]
FETCHED = TESTS.parent / "build" / "published"
FETCH_SECONDS = 120

REPLACES = "replaces a private method of the other library"
CALLS = "calls a private method of the other library"
EXPECTED = {
    "test_open_websocket_internal_ki": REPLACES,
    "test_open_websocket_internal_exc": REPLACES,
    "test_open_websocket_cancellations": REPLACES,
    "test_message_after_local_close_race": REPLACES,
    "test_remote_close_local_message_race": "waits for a private event of the other library",
    "test_server_tcp_closed_on_close_connection_event": CALLS,
    "test_remote_close_rude": CALLS,
    "test_client_open_invalid_ssl": "compares the wording of two errors, whose types are the same",
    "test_handshake_exception_before_accept": "wants an error of one handler to end the server",
    "test_reject_handshake_invalid_info_status": "wants 1xx to be the answer, against RFC 9110 15.2",
}
"""Tests that fail, and why. docs/coming-from-trio-websocket.md has the last two as improvements."""
PASSED = 54


def archives() -> list[Path]:
    return list(FETCHED.glob(f"*{VERSION}.tar.gz"))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The file of the published tests."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--no-binary", ":all:", "--no-build-isolation", f"trio-websocket=={VERSION}", "-d", str(FETCHED)]
    if not archives():
        try:
            subprocess.run(command, capture_output=True, timeout=FETCH_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("the package index did not answer in time: trio-websocket's own tests were not run")
    if not archives():
        pytest.skip("no package index in reach: trio-websocket's own tests were not run")
    with tarfile.open(archives()[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    return next(tmp_path.glob("*/tests/test_connection.py"))


@pytest.mark.slow
def test_published_tests_pass_but_for_those_listed(published: Path) -> None:
    report = published.with_name("report.xml")
    # It is forked from a process that has imported plugins, which cannot be rewritten any more.
    options = ["-p", "no:cacheprovider", "-p", "no:anyio", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    command = [
        *("-m", "pytest", "-p", "support.moved", *options, "--tb=line"),
        *("-c", os.devnull, "--rootdir", str(published.parent), "-o", "trio_mode=true"),
        *("-o", "junit_family=xunit2", f"--junitxml={report}", str(published)),
    ]
    printed = trio.run(output_of_forked, command, published.parent)
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {case.attrib["name"] for case in cases if len(case) and case[0].tag in ("failure", "error")}
    assert failed == set(EXPECTED), printed
    assert len(cases) - len(failed) == PASSED, printed

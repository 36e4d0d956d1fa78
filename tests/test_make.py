"""`make coverage` without Redis, nginx, Chromium or a compiler: it passes, and closes with what it could not test."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from examples.process import output_of_forked
from support import services
from support.redis import redis_server

ROOT = Path(__file__).parents[1]
SERVICES = (services.REDIS, services.NGINX, services.CHROMIUM, services.COMPILER)

# Stands in for the environment's interpreter: notes what it is asked for, and lets only the list of services happen.
FAKE = f"""#!/bin/sh
case "$1" in
    tests/support/services.py) exec {sys.executable} "$@" ;;
    *) echo "ran: $*" ;;
esac
"""


MAKES = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "ARGS", "COVERAGE", "WORKERS"}
"""What a make that runs these tests would hand on."""


def make_coverage(folder: Path, without: str) -> list[str]:
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.write_text(FAKE)
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "coverage", f"VENV={folder}", f"--old-file={folder}/.installed"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in MAKES} | {"TRIO_WS_WITHOUT": without},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_without_services_coverage_has_no_gate_and_says_so(tmp_path: Path) -> None:
    said = make_coverage(tmp_path, ",".join(service.names[0] for service in SERVICES))
    lines = [f"  no {service.names[0]}: {service.tests}" for service in SERVICES]
    reported = said.index("ran: -m coverage report --fail-under=0")
    assert [line for line in said[reported:] if line.startswith("  no ")] == lines


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.names[0])
def test_each_service_that_is_missing_is_listed(service: services.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "WITHOUT", {service.names[0]})
    assert f"no {service.names[0]}: {service.tests}" in services.missing()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.skipif(bool(services.missing()), reason="needs all services")
@pytest.mark.slow
def test_with_all_services_coverage_has_its_gate(tmp_path: Path) -> None:
    assert make_coverage(tmp_path, "")[-1] == "ran: -m coverage report"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.slow
def test_demo_installs_what_the_example_needs_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(FAKE)
    python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in MAKES}
    run = ["make", "--no-print-directory", "-s", "demo", f"VENV={tmp_path}", f"PYTHON={sys.executable}"]
    first, second = (
        subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(2)
    )
    assert first == [
        f"make: installing trio_ws and the packages that it needs into {tmp_path}, once",
        "ran: -m pip --disable-pip-version-check install -q -e .",
        "ran: examples/chat/app.py",
    ]
    assert second == ["ran: examples/chat/app.py"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.slow
@pytest.mark.parametrize(("failing", "passes"), [("nothing", True), ("-m pytest -n", False), ("-m pytest -q", False)])
def test_tests_and_other_kinds_fail_the_run(tmp_path: Path, failing: str, passes: bool) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "ran: $*"\ncase "$*" in "{failing}"*) exit 1 ;; esac\n')
    python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in MAKES}
    run = ["make", "--no-print-directory", "test", f"VENV={tmp_path}", f"--old-file={tmp_path}/.installed"]
    done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if line.startswith("ran: ")] == [
        "ran: -m pytest -n auto --dist worksteal",
        "ran: -m pytest -q -n 0 -p no:cacheprovider tests/contracts -k server and poller",
    ]
    assert (done.returncode == 0) == passes


def test_a_service_on_the_list_of_those_to_do_without_is_missing() -> None:
    every = ("redis-server", "nginx", "chromium", "cc")
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "support" / "services.py"],
        env={**os.environ, "TRIO_WS_WITHOUT": ",".join(every)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [f"no {name}" for name in every]


def test_what_starts_a_redis_is_skipped_where_there_is_none() -> None:
    """It may lack the mark: that shows on no machine of those who write tests."""
    with pytest.raises(pytest.skip.Exception, match="redis-server is not installed"), redis_server(program=None):
        pytest.fail("it started")


@pytest.mark.slow
def test_expected_failures_are_one_line_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_WS_WITHOUT", "nginx")
    test = "tests/documented/test_bocadillo.py::test_events_are_for_the_handshake_and_the_end_too"
    # It is forked from a process that has imported plugins, which cannot be rewritten any more.
    options = ["-p", "no:cacheprovider", "-m", "not soak", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    printed = trio.run(output_of_forked, ["-m", "pytest", *options, test], ROOT)
    assert "2 failures were expected under hypercorn: docs/asgi.md says why\n" in printed
    assert f"not tested: no nginx: {services.NGINX.tests}\n" in printed
    assert "XFAIL" not in printed


def test_a_watched_file_that_changes_is_noticed(tmp_path: Path) -> None:
    watch = runpy.run_path(str(ROOT / "tools" / "watch.py"))
    (tmp_path / "module.py").write_text("1")
    before = watch["modification_times"]([tmp_path])
    (tmp_path / "notes.txt").write_text("not watched")
    assert watch["modification_times"]([tmp_path]) == before
    os.utime(tmp_path / "module.py", (0, 0))
    watch["wait_for_change"]([tmp_path], before)
    assert watch["modification_times"]([tmp_path]) != before


STUB = """#!/bin/sh
case " $FAILING " in *" $1 "*) exit 1 ;; esac
"""
INSTALLED = ("redis-server", "valkey-server", "nginx", "chromium", "tsc", "cc")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("failing", "passes"),
    [
        ("", True),
        ("venv", False),
        ("site", False),
        ("lint", False),
        ("types", False),
        ("coverage", True),  # as what failed passes when it runs again
        ("coverage again", False),
        ("coverage report", False),
        ("another again", False),
    ],
)
def test_a_step_that_fails_fails_the_run(tmp_path: Path, failing: str, passes: bool) -> None:
    for name in ("make", *INSTALLED):
        (tmp_path / name).write_text(STUB)
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin", "FAILING": failing, "PYTHON": sys.executable}
    # Another interpreter for each version but this one, whether the machine has it or not.
    for version in {"3.11", "3.13"} - {f"3.{sys.version_info.minor}"}:
        (tmp_path / f"python{version}").write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / f"python{version}").chmod(0o755)
    done = subprocess.run([ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == passes, done.stdout + done.stderr

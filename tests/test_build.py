"""What is built: wheels with and without a compiler, and what they say of themselves."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from support.services import COMPILER

import trio_ws

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTENSIONS = ("trio_ws/protocol/_speedups", "trio_ws/native/_core")
FOLDERS = ("tests", "docs", "examples", "tools", "benchmarks", ".ci")
DOCUMENTS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile")
NO_COMPILER = {"CC": "false"}
HASTY = """#!/bin/sh
while test $# -gt 1; do test "$1" = -o && : > "$2"; shift; done
"""
"""A compiler that writes empty files: what it compiles is what these tests have installed and run."""
REQUIRED = {"TRIO_WS_REQUIRE_SPEEDUPS": "1"}

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="the compiler is chosen with CC"), pytest.mark.slow]
has_compiler = pytest.mark.skipif(COMPILER.program is None, reason=COMPILER.reason)


def build(tmp_path: Path, kind: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build a "wheel" or an "sdist" of this source in a copy of it, as pip does; the result is in `tmp_path`."""
    source = tmp_path / "source"
    source.mkdir()
    documents, folders = ((), ()) if kind == "wheel" else (DOCUMENTS, FOLDERS)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", *documents):
        shutil.copy(ROOT / name, source)
    for name in ("trio_ws", *folders):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    program = f"from setuptools import build_meta; build_meta.build_{kind}({str(tmp_path)!r})"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=source,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def only_wheel(tmp_path: Path) -> tuple[str, set[str]]:
    """Return the tags of the one wheel there, and the files of the package in it."""
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if name.startswith("trio_ws/")}
    return path.stem.split("-", 2)[2], names


@has_compiler
def test_a_wheel_with_the_compiled_codec_is_one_for_every_python(tmp_path: Path) -> None:
    compiler = tmp_path / "hasty"
    compiler.write_text(HASTY, encoding="utf-8")
    compiler.chmod(0o755)
    done = build(tmp_path, "wheel", CC=str(compiler), **REQUIRED)
    assert done.returncode == 0, done.stderr
    tags, names = only_wheel(tmp_path)
    assert tags.startswith("cp311-abi3-")
    compiled = {f"{name}{end}" for name in EXTENSIONS for end in (".abi3.so", ".pyi")}
    assert compiled | {"trio_ws/py.typed", "trio_ws/app/trio_ws.js"} <= names
    assert not any(name.endswith((".c", ".h")) for name in names)


def test_without_a_compiler_the_wheel_is_one_for_every_platform(tmp_path: Path) -> None:
    done = build(tmp_path, "wheel", **NO_COMPILER)
    assert done.returncode == 0, done.stderr
    tags, names = only_wheel(tmp_path)
    assert tags == "py3-none-any"
    assert "trio_ws/protocol/decoder.py" in names
    assert not any(name.endswith((".so", ".c", ".h")) for name in names)


def test_a_release_wheel_is_not_built_without_it(tmp_path: Path) -> None:
    done = build(tmp_path, "wheel", **NO_COMPILER, **REQUIRED)
    assert done.returncode != 0
    assert not list(tmp_path.glob("*.whl"))


def test_the_source_is_complete_with_tests_and_pages(tmp_path: Path) -> None:
    done = build(tmp_path, "sdist")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    ends = ("c", "h", "js", "pyi")
    source = {str(path.relative_to(ROOT)) for end in ends for path in (ROOT / "trio_ws").rglob(f"*.{end}")}
    assert source | {"setup.py", "pyproject.toml", "MANIFEST.in", *DOCUMENTS} <= names
    for folder in FOLDERS:
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        assert {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"} <= names
    assert not any(name.endswith((".so", ".pyc")) for name in names)


def test_the_package_has_the_version_of_its_metadata() -> None:
    """The version is written in one place, and read from there when the package is built."""
    assert importlib.metadata.version("trio-ws") == trio_ws.__version__


def test_metadata_lead_to_the_project_and_say_what_it_runs_on() -> None:
    """What a package index shows: where things are, and the Pythons that the checks run on."""
    assert PROJECT["description"]
    assert PROJECT["license"] == "MIT"
    assert all(author.keys() == {"name", "email"} for author in PROJECT["authors"])
    assert {"Documentation", "Repository", "Issues", "Changelog"} <= PROJECT["urls"].keys()
    assert all(address.startswith("https://") for address in PROJECT["urls"].values())
    prefix = "Programming Language :: Python :: 3."
    versions = {each.removeprefix(prefix) for each in PROJECT["classifiers"] if each.startswith(prefix)}
    checks = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert versions == set(re.findall(r'python(?:-version)?: "3\.(\d+)"', checks))
    assert PROJECT["requires-python"] == f">=3.{min(versions, key=int)}"


def test_each_dependency_has_a_lower_bound_and_no_upper_one() -> None:
    """An upper bound would keep others from installing what they need beside it."""
    for requirement in sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"]):
        bounds = requirement.partition(";")[0]
        assert bounds.startswith("trio-ws[") or ">=" in bounds
        assert not set("<~!") & set(bounds)

"""What is built: wheels with and without a compiler, and what they say of themselves."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.services import COMPILER

import trio_ws

ROOT = Path(__file__).parents[1]
EXTENSIONS = ("trio_ws/protocol/_speedups", "trio_ws/native/_core")
NO_COMPILER = {"CC": "false"}
REQUIRED = {"TRIO_WS_REQUIRE_SPEEDUPS": "1"}

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="the compiler is chosen with CC"), pytest.mark.slow]
has_compiler = pytest.mark.skipif(COMPILER.program is None, reason=COMPILER.reason)


def build(tmp_path: Path, kind: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build a "wheel" or an "sdist" of this source in a copy of it, as pip does; the result is in `tmp_path`."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "trio_ws", source / "trio_ws", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
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
    done = build(tmp_path, "wheel", **REQUIRED)
    assert done.returncode == 0, done.stderr
    tags, names = only_wheel(tmp_path)
    assert tags.startswith("cp311-abi3-")
    compiled = {f"{name}{end}" for name in EXTENSIONS for end in (".abi3.so", ".pyi")}
    assert compiled | {"trio_ws/py.typed"} <= names
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


def test_the_source_is_complete(tmp_path: Path) -> None:
    done = build(tmp_path, "sdist")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    source = {str(path.relative_to(ROOT)) for end in ("c", "h", "pyi") for path in (ROOT / "trio_ws").rglob(f"*.{end}")}
    assert source | {"setup.py", "pyproject.toml"} <= names


def test_the_package_has_the_version_of_its_metadata() -> None:
    """The version is written in one place, and read from there when the package is built."""
    assert importlib.metadata.version("trio-ws") == trio_ws.__version__

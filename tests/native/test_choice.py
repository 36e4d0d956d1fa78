"""The choice of what runs: a compiled module that is older than the Python files is not used."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

import trio_ws
from trio_ws.native.choice import INTERFACE, PURE_PYTHON, is_current

PACKAGE = Path(__file__).parents[2] / "trio_ws"
DESCRIBED_BY = ("native/_core.pyi", "native/state.py", "protocol/_speedups.pyi")
DIGESTS = {1: "32c003f955108fb0", 2: "351484d0375e818b", 3: "3deb94fb06673e50", 4: "5330d9a2f20ca259"}
"""What each number stands for."""

STALE = """
import sys, types, warnings
for name in {stale}:
    sys.modules[name] = types.ModuleType(name)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import trio_ws.websocket.websocket
    from trio_ws.protocol.codec import RUNNING
print(RUNNING)
for warning in caught:
    print(warning.category.__name__, warning.message)
"""


def compiled_module(**names: int) -> ModuleType:
    """A module that says so much of itself."""
    module = ModuleType("trio_ws.native._core")
    vars(module).update(names)
    return module


def digest() -> str:
    """A digest of what the files say of the interface, without comments and docstrings."""
    parts = []
    for name in DESCRIBED_BY:
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        docstrings = (each for each in ast.walk(tree) if isinstance(each, ast.Expr))
        for each in docstrings:
            each.value = ast.Constant(None)
        parts.append(ast.unparse(tree))
    wiring = re.search(r"extern struct wiring \{(.*?)\} wired;", (PACKAGE / "native/core.h").read_text(), re.DOTALL)
    assert wiring is not None
    parts.append(" ".join(re.sub(r"/\*.*?\*/", "", wiring[1], flags=re.DOTALL).split()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def test_module_of_this_interface_is_used_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_current(compiled_module(INTERFACE=INTERFACE))


@pytest.mark.parametrize("names", [{}, {"INTERFACE": INTERFACE - 1}, {"INTERFACE": INTERFACE + 1}])
def test_module_of_another_interface_is_refused_with_the_way_out(names: dict[str, int]) -> None:
    with pytest.warns(RuntimeWarning, match=r"_core was built from other source.*`make venv`.*pip install") as warned:
        assert not is_current(compiled_module(**names))
    assert [warning.filename for warning in warned] == [__file__], "the line that is blamed is the caller's"


@pytest.mark.slow
def test_stale_modules_after_a_pull_leave_the_python_code() -> None:
    """In a process of its own, since what runs is chosen once."""
    names = ["trio_ws.native._core", "trio_ws.protocol._speedups"]
    run = [sys.executable, "-c", STALE.format(stale=names)]
    environment = {name: value for name, value in os.environ.items() if name != PURE_PYTHON}
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=60, check=True)
    printed = done.stdout.splitlines()
    assert printed[0] == "pure Python codec"
    assert [line.split(" was")[0] for line in printed[1:]] == [f"RuntimeWarning {name}" for name in names]


def test_interface_in_c_has_the_number_of_python() -> None:
    header = (PACKAGE / "native/interface.h").read_text()
    assert re.findall(r"#define TRIO_WS_INTERFACE (\d+)", header) == [str(INTERFACE)]


def test_interface_that_changes_gets_a_new_number() -> None:
    assert DIGESTS[INTERFACE] == digest(), (
        f"what the compiled modules and Python expect of each other has changed: raise INTERFACE in native/choice.py "
        f"and TRIO_WS_INTERFACE in native/interface.h, and write the digest {digest()!r} beside the new number here"
    )


def test_no_format_depends_on_the_headers_of_a_python() -> None:
    """Formats with `#` are other functions in the headers of Python 3.13 than for 3.11, where the module has to run."""
    package = Path(trio_ws.__file__).parent
    sources = [*package.rglob("*.c"), *package.rglob("*.h")]
    assert len(sources) > 5
    assert [path.name for path in sources if re.search(r'"\w*[syzu]#', path.read_text(encoding="utf-8"))] == []

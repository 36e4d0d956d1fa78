"""The one part of the build that pyproject.toml cannot say: the compiled codec, which may be missing.

With `TRIO_WS_REQUIRE_SPEEDUPS=1` in the environment, as release wheels are built, it may not.
"""

import os
import re
import sysconfig
from glob import glob

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

REQUIRED = os.environ.get("TRIO_WS_REQUIRE_SPEEDUPS", "0") not in ("", "0")
ABI = "cp311"  # whose stable ABI is used: Py_LIMITED_API in the source, and requires-python
HEADERS = [f"trio_ws/native/{name}.h" for name in ("core", "frames", "interface", "system")]
STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")  # a free-threaded build has no stable ABI


class BuildExt(build_ext):
    """Builds the extension with what the compiler at hand understands."""

    def build_extensions(self) -> None:
        """Ask for the loops over words that the source is written for; MSVC makes them with its /O2."""
        if self.compiler.compiler_type != "msvc":
            for extension in self.extensions:
                extension.extra_compile_args += ["-std=c11", "-O3"]
        super().build_extensions()

    def get_ext_filename(self, fullname: str) -> str:
        """Return the path of an extension; Python 3.15 names it for its platform, which 3.11 to 3.13 do not import."""
        return re.sub(r"\.abi3-[^.]+\.so$", ".abi3.so", super().get_ext_filename(fullname))


class Wheel(bdist_wheel):
    """Tags a wheel by what is in it: without the extension it is one for every platform."""

    def run(self) -> None:
        """Build the extension before anything depends on it."""
        build = self.get_finalized_command("build_ext")
        self.run_command("build_ext")
        extensions = self.distribution.ext_modules
        built = [each for each in extensions if os.path.exists(build.get_ext_fullpath(each.name))]
        self.distribution.ext_modules = built
        if not built:
            self.root_is_pure = True
            self.py_limited_api = False
        super().run()


def extension(name: str, *sources: str) -> Extension:
    """Return an extension, which may be missing unless it is required."""
    return Extension(name, list(sources), depends=HEADERS, py_limited_api=STABLE, optional=not REQUIRED)


extensions = [extension("trio_ws.protocol._speedups", "trio_ws/protocol/_speedups.c")]
if STABLE and os.name == "posix":  # elsewhere there is no poller; and its state needs the GIL
    extensions.append(extension("trio_ws.native._core", *sorted(glob("trio_ws/native/*.c"))))

setup(
    ext_modules=extensions,
    cmdclass={"build_ext": BuildExt, "bdist_wheel": Wheel},
    options={"bdist_wheel": {"py_limited_api": ABI if STABLE else False}},
)

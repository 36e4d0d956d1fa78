"""Print the lower bound of every dependency of the library and its extras, as constraints for pip.

The tools of development (`dev`, `docs`) are left out: nobody who installs the library gets them.
"""

import re
import sys
import tomllib
from pathlib import Path

TOOLS = {"dev", "docs"}
BOUND = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<version>[\w.]+)")


def main(path: str) -> None:
    """Read the pyproject.toml at `path`; a dependency without a lower bound ends the program."""
    project = tomllib.loads(Path(path).read_text(encoding="utf-8"))["project"]
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra not in TOOLS]
    for requirement in sum(extras, project["dependencies"]):
        bound = BOUND.match(requirement)
        if bound is None:
            sys.exit(f"{path}: {requirement!r} has no lower bound: write name>=version")
        sys.stdout.write(f"{bound['name']}=={bound['version']}\n")


if __name__ == "__main__":
    main(sys.argv[1])

"""Run a program as `python PROGRAM` does, but let the application in it listen on a free port of 127.0.0.1."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from trio_ws import App

serve = App.serve


async def serve_on_a_free_port(app: App, host: str = "localhost", port: int = 8000, **options: Any) -> None:
    await serve(app, "127.0.0.1", 0, **options)


if __name__ == "__main__":
    App.serve = serve_on_a_free_port  # type: ignore[assignment,method-assign]
    program = Path(sys.argv.pop(1)).resolve()
    sys.path[0] = str(program.parent)
    runpy.run_path(str(program), run_name="__main__")

"""`python -m trio_ws` is the command `trio-ws`."""

import sys

from trio_ws.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

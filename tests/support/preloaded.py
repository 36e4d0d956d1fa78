"""What is imported before processes are forked: each would import it, as programs and servers do when they start."""

import encodings.idna
import gc

import coredis

import support.forked_program
import trio_ws.app.budgets
import trio_ws.app.connections
import trio_ws.app.dispatcher
import trio_ws.cli.main
import trio_ws.cli.run_server
import trio_ws.cli.terminal
import trio_ws.protocol.switching
import trio_ws.rooms.redis
import trio_ws.rooms.registry

__all__ = ["coredis", "encodings", "support", "trio_ws"]

gc.collect()
gc.freeze()

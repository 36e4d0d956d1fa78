"""The sans-I/O half of the library: bytes to messages and back, no socket, no clock, no log.

The frame codec is in `frames`, `masking`, `rules`, `assembly`, `decoder` and `encoder`; in `compiled` its hot parts are
C, and `choice` says which of the two runs. permessage-deflate is in `deflate` and `extensions`; the opening handshake
in `head`, `request`, `response`, `handshake`, `offer` and `origin`; who may close when in `states`. `endpoint` puts
together what an open connection needs.
"""

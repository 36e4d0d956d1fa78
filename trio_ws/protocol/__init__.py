"""The sans-I/O half of the library: bytes to messages and back, no socket, no clock, no log.

The frame codec is in `frames`, `masking`, `rules`, `assembly`, `decoder` and `encoder`; permessage-deflate in `deflate`
and `extensions`; the opening handshake in `head`, `request`, `response`, `handshake`, `offer` and `origin`; who may
close when in `states`. `endpoint` puts together what an open connection needs.
"""

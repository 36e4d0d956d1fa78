"""The sans-I/O half of the library: bytes to messages and back, no socket, no clock, no log.

`frames`, `masking`, `decoder`, `encoder` hold the frame codec, `deflate` and `extensions` permessage-deflate, `request`,
`handshake` and `origin` the opening handshake, `states` who may close when, and `endpoint` puts them together.
"""

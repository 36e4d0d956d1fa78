"""From a URL to an open WebSocket.

Here: `open_websocket`, `reconnect`, and connecting: name resolution, proxies, TLS, redirects, backoff.
Not here: the handshake's rules (`protocol.client_handshake`).
Start with `client`, then `connector`.
"""

from support.tls import authority, client_tls, server_tls

__all__ = ["authority", "client_tls", "server_tls"]

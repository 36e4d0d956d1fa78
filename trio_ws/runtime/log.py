"""Log records about one connection, with fields that identify it.

The fields are attributes of the `logging.LogRecord` (its `extra`), for formatters that write JSON. The peer's text is
escaped, in the message and in the fields.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from trio_ws.addresses import Address

__all__ = ["ConnectionLog", "escaped", "format_address"]

logger: Final = logging.getLogger("trio_ws")

MOST_SHOWN: Final = 100
"""Characters of a path in records and task names: enough to distinguish routes, too few to fill a log."""


def escaped(text: str) -> str:
    """Return the beginning of a peer's text in printable ASCII, unquoted."""
    shown = ascii(text[:MOST_SHOWN])[1:-1] + ("..." if len(text) > MOST_SHOWN else "")
    return text if shown == text else shown  # one string for both, where it is kept


def format_address(address: Address) -> str:
    """Return an address as text, `unknown` if there is none."""
    if not isinstance(address, tuple):
        return escaped(address) if address else "unknown"
    host, port = address
    shown = f"[{host}]" if ":" in host else host
    return escaped(f"{shown}:{port}" if port else shown)


class ConnectionLog:
    """A logger of records about one connection.

    Args:
        number: of the connection within its server.
        client: its address.
    """

    __slots__ = ("client", "number", "path")

    def __init__(self, number: int, client: Address) -> None:
        self.number: int = number
        self.client: Address = client
        """The peer's address; behind a trusted proxy it is replaced when the request arrives."""
        self.path: str = ""
        """The path of the request, escaped, without the query, which may hold secrets; "" before there is one."""

    def set_request(self, target: str, client: Address) -> None:
        """Set the path of the request and the address of its client."""
        self.path = escaped(target.partition("?")[0])
        self.client = client

    @property
    def task_name(self) -> str:
        """The name of the connection's task, such as `/chat/42 #17`."""
        return f"{self.path or format_address(self.client)} #{self.number}"

    def fields(self) -> dict[str, Any]:
        """Return the fields of each record about the connection."""
        return {"connection_id": self.number, "path": self.path, "peer": format_address(self.client)}

    def __str__(self) -> str:
        return f"{self.path} #{self.number} from {format_address(self.client)}".lstrip()

    @property
    def debug_enabled(self) -> bool:
        """Whether records of level DEBUG are enabled."""
        return logger.isEnabledFor(logging.DEBUG)

    # --- records: the first %s of a message is the connection ----------------------------------------------------

    def debug(self, message: str, *args: object, **fields: Any) -> None:
        """Log a detail for diagnosis."""
        self._log(logging.DEBUG, message, args, None, fields)

    def info(self, message: str, *args: object, **fields: Any) -> None:
        """Log a fault of a peer."""
        self._log(logging.INFO, message, args, None, fields)

    def warning(self, message: str, *args: object, **fields: Any) -> None:
        """Record what the application should do otherwise."""
        self._log(logging.WARNING, message, args, None, fields)

    def error(self, message: str, *args: object, error: BaseException, **fields: Any) -> None:
        """Record an error with its traceback."""
        self._log(logging.ERROR, message, args, error, fields)

    def exception(self, message: str, *args: object, **fields: Any) -> None:
        """Record the error that is being handled, with its traceback."""
        self._log(logging.ERROR, message, args, True, fields)

    def tls_failed(self, reason: str) -> None:
        """Log a failure of TLS, with OpenSSL's reason, at INFO if the client has taken the wrong scheme."""
        if reason == "HTTP_REQUEST":
            self.info("%s: TLS failed: %s: the client speaks ws:// where wss:// is meant", reason, tls_error=reason)
        else:
            self.debug("%s: TLS failed: %s", reason, tls_error=reason)

    def _log(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        error: BaseException | bool | None,
        fields: dict[str, Any],
    ) -> None:
        if logger.isEnabledFor(level):
            # The connection as text: it may change before a handler in another thread formats the record.
            logger.log(level, message, str(self), *args, exc_info=error, extra=self.fields() | fields, stacklevel=3)

"""Log: every record about one connection, with the fields that tell which. Records about no connection are not here.

The fields are attributes of the `logging.LogRecord` (its `extra`), for formatters that write JSON. What comes from the
peer is escaped, in the message and in the fields.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from trio_ws.http.request import Address

__all__ = ["ConnectionLog", "escaped", "shown_address"]

logger: Final = logging.getLogger("trio_ws")

MOST_SHOWN: Final = 100
"""Characters of a path in records and task names: enough to tell routes apart, too few to fill a log."""


def escaped(text: str) -> str:
    """Return the beginning of a peer's text in printable ASCII, without quotes around it."""
    shown = ascii(text[:MOST_SHOWN])[1:-1] + ("..." if len(text) > MOST_SHOWN else "")
    return text if shown == text else shown  # one string for both, where it is kept


def shown_address(address: Address) -> str:
    """Return an address as people write it; `unknown` if there is none, as for a peer that has left already."""
    if not isinstance(address, tuple):
        return escaped(address) if address else "unknown"
    host, port = address
    shown = f"[{host}]" if ":" in host else host
    return escaped(f"{shown}:{port}" if port else shown)


class ConnectionLog:
    """Says in each record which connection it is about.

    Args:
        number: of the connection within its server.
        client: its address.
    """

    __slots__ = ("client", "number", "path")

    def __init__(self, number: int, client: Address) -> None:
        self.number: int = number
        self.client: Address = client
        """Who is at the other end; behind a trusted proxy known only with the request."""
        self.path: str = ""
        """The path of the request, escaped, without the query, which may hold secrets; "" before there is one."""

    def know(self, target: str, client: Address) -> None:
        """Take note of what was asked for, and by whom."""
        self.path = escaped(target.partition("?")[0])
        self.client = client

    @property
    def task_name(self) -> str:
        """What the connection's task is called: `/chat/42 #17`."""
        return f"{self.path or shown_address(self.client)} #{self.number}"

    def fields(self) -> dict[str, Any]:
        """Return the fields that each record about the connection has."""
        return {"connection_id": self.number, "path": self.path, "peer": shown_address(self.client)}

    def __str__(self) -> str:
        return f"{self.path} #{self.number} from {shown_address(self.client)}".lstrip()

    @property
    def listened_to(self) -> bool:
        """Whether anybody wants the records of the lowest level."""
        return logger.isEnabledFor(logging.DEBUG)

    # --- records: the first %s of a message is the connection ----------------------------------------------------

    def debug(self, message: str, *args: object, **fields: Any) -> None:
        """Record what is of interest to those who look for something."""
        self._log(logging.DEBUG, message, args, None, fields)

    def info(self, message: str, *args: object, **fields: Any) -> None:
        """Record what a peer did that is not as it should be."""
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

    def _log(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        error: BaseException | bool | None,
        fields: dict[str, Any],
    ) -> None:
        if logger.isEnabledFor(level):
            # The connection as text: what it knows may change before a handler in another thread formats the record.
            logger.log(level, message, str(self), *args, exc_info=error, extra=self.fields() | fields, stacklevel=3)

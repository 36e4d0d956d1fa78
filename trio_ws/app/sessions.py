"""Sessions: a dictionary per client, kept by the client in a signed cookie (itsdangerous, extra `sessions`)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from trio_ws.connection.serialization import from_json, to_json
from trio_ws.errors import LocalProtocolError

if TYPE_CHECKING:
    from trio_ws.http.request import Request

__all__ = ["Session", "Sessions"]

TWO_WEEKS = 14 * 24 * 60 * 60
MAX_COOKIE_BYTES = 4096
"""What browsers keep of a cookie, its name and its value (RFC 6265 6.1)."""


class Session(MutableMapping[str, Any]):
    """The session of one client: a dictionary that can be changed until the handshake is answered."""

    __slots__ = ("_before", "_data", "_frozen")

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._before = copy.deepcopy(data)
        self._frozen = False

    @property
    def changed(self) -> bool:
        """Whether the client has to be told: something in it, however deep, is not as it came."""
        return self._data != self._before

    def freeze(self) -> None:
        """Refuse changes from now on: the answer, which carries the cookie, is on its way."""
        self._frozen = True

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._check_open()
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        self._check_open()
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"<Session with {sorted(self._data)}>"

    def _check_open(self) -> None:
        if self._frozen:
            raise LocalProtocolError(
                "the session is read-only once the handshake is answered: the cookie is in the answer. "
                "Change it in a guard, a dependency, or before accept() on a route with auto_accept=False"
            )


@attrs.frozen(kw_only=True)
class Sessions:
    """How sessions are kept.

    Raises:
        ValueError: the secret is empty, or no browser would keep such a cookie.
        ImportError: itsdangerous is not installed.
    """

    secret_key: str | bytes = attrs.field(repr=False)
    """Signs the cookie: at least 32 random bytes, the same in every process."""
    cookie: str = "session"
    max_age: int = TWO_WEEKS
    """Seconds after which a session is forgotten."""
    path: str = "/"
    same_site: Literal["lax", "strict", "none"] = "lax"
    https_only: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.secret_key:
            raise ValueError("sessions need a secret_key: secrets.token_urlsafe(32) makes one")
        if self.same_site not in ("lax", "strict", "none"):
            raise ValueError(f'same_site is "lax", "strict" or "none", not {self.same_site!r}')
        if self.same_site == "none" and not self.https_only:
            raise ValueError('same_site="none" goes with https_only=True: browsers refuse such a cookie otherwise')
        self._signer()

    def load(self, request: Request) -> Session:
        """Return the session that a request carries; an empty one if there is none, it is forged, or too old."""
        from itsdangerous import BadData  # noqa: PLC0415 - an extra

        cookie = request.cookies.get(self.cookie)
        if cookie is None:
            return Session({})
        try:
            data = self._signer().loads(cookie, max_age=self.max_age)
        except BadData:
            data = None
        return Session(data if isinstance(data, dict) else {})

    def header(self, session: Session) -> list[tuple[str, str]]:
        """Return the headers that tell the client of a changed session, and freeze it.

        Raises:
            TypeError: the session holds something that is not JSON.
            ValueError: it has become too large for a cookie.
        """
        session.freeze()
        if not session.changed:
            return []
        value = self._signer().dumps(dict(session))
        if len(self.cookie) + len(value) > MAX_COOKIE_BYTES:
            raise ValueError(f"the session takes {len(value)} bytes, a cookie holds at most {MAX_COOKIE_BYTES}")
        parts = [
            f"{self.cookie}={value}",
            f"Path={self.path}",
            f"Max-Age={self.max_age}",
            "HttpOnly",
            f"SameSite={self.same_site.capitalize()}",
        ]
        if self.https_only:
            parts.append("Secure")
        return [("Set-Cookie", "; ".join(parts))]

    def _signer(self) -> Any:
        try:
            from itsdangerous import URLSafeTimedSerializer  # noqa: PLC0415 - an extra
        except ImportError:
            raise ImportError("sessions need itsdangerous: pip install trio-ws[sessions]") from None
        return URLSafeTimedSerializer(self.secret_key, salt="trio_ws.session", serializer=_Serializer)


class _Serializer:
    """JSON for itsdangerous, by the rules of messages."""

    @staticmethod
    def dumps(value: Any) -> str:
        return to_json(value, wrapped=1)

    @staticmethod
    def loads(payload: str | bytes) -> Any:
        return from_json(payload, wrapped=1)
